package telemetry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/telemetry"
)

// line logs one line and gives it decoded.
func line(t *testing.T, log func(*slog.Logger)) (map[string]any, string) {
	t.Helper()
	var out bytes.Buffer
	log(telemetry.NewLogger(&out, slog.LevelInfo))
	var fields map[string]any
	if err := json.Unmarshal(out.Bytes(), &fields); err != nil {
		t.Fatalf("not one JSON line: %v: %s", err, &out)
	}
	return fields, out.String()
}

func TestLinesCarryTheMessageID(t *testing.T) {
	id := message.NewID()
	ctx := telemetry.WithMessage(t.Context(), id)
	fields, _ := line(t, func(l *slog.Logger) { l.With("role", "controller").InfoContext(ctx, "sent", "block", 7) })
	if fields["message_id"] != string(id) || fields["role"] != "controller" || fields["msg"] != "sent" || fields["block"] != 7.0 {
		t.Errorf("got %v", fields)
	}
	fields, _ = line(t, func(l *slog.Logger) { l.InfoContext(t.Context(), "started") })
	if _, there := fields["message_id"]; there {
		t.Errorf("a line for no message names one: %v", fields)
	}
}

type loggable struct{}

func (loggable) LogValue() slog.Value { return slog.GroupValue(slog.String("seed", canary)) }

const (
	canary = "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318" // the key of web3.js's documentation
	jwt    = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjbGlfMSJ9.c2lnbmF0dXJl"
)

// A29, I25: what is secret does not reach the log, however it is handed to it.
func TestA29SecretInALogLine(t *testing.T) {
	type wallet struct {
		Name string
		Key  string
		Deep struct{ PrivateKey []byte }
	}
	for name, log := range map[string]func(*slog.Logger){
		"seed":             func(l *slog.Logger) { l.Info("made", "seed", canary) },
		"key":              func(l *slog.Logger) { l.Info("made", "key", "0x"+canary) },
		"signingKey":       func(l *slog.Logger) { l.Info("made", "signingKey", canary) },
		"passphrase":       func(l *slog.Logger) { l.Info("opened", "passphrase", canary) },
		"bytes":            func(l *slog.Logger) { l.Info("made", "raw", []byte(canary)) },
		"With":             func(l *slog.Logger) { l.With("client_secret", canary).Info("made") },
		"group":            func(l *slog.Logger) { l.Info("made", slog.Group("secret", "value", canary)) },
		"WithGroup":        func(l *slog.Logger) { l.WithGroup("credentials").Info("made", "value", canary) },
		"LogValue":         func(l *slog.Logger) { l.Info("made", "wallet", loggable{}) },
		"struct":           func(l *slog.Logger) { l.Info("made", "wallet", wallet{Name: "w", Key: canary}) },
		"pointer":          func(l *slog.Logger) { l.Info("made", "wallets", []*wallet{{Key: canary}}) },
		"map":              func(l *slog.Logger) { l.Info("made", "wallet", map[string]any{"token": []string{canary}}) },
		"number":           func(l *slog.Logger) { n, _ := new(big.Int).SetString(canary, 16); l.Info("made", "seed", n) },
		"header":           func(l *slog.Logger) { l.Info("asked", "headers", http.Header{"Authorization": {"Bearer " + canary}}) },
		"error":            func(l *slog.Logger) { l.Info("failed", "err", fmt.Errorf("with private key %s", "= 0x"+canary)) },
		"text":             func(l *slog.Logger) { l.Info("failed with seed: " + canary) },
		"JSON in text":     func(l *slog.Logger) { l.Info(`body {"secret":"` + canary + `"}`) },
		"bearer":           func(l *slog.Logger) { l.Info("asked", "err", errors.New("header Bearer "+canary)) },
		"JWT":              func(l *slog.Logger) { l.Info("got " + jwt) },
		"password in link": func(l *slog.Logger) { l.Info("to", "url", "https://user:"+canary+"@host/") },
	} {
		t.Run(name, func(t *testing.T) {
			_, text := line(t, log)
			if strings.Contains(text, canary) || strings.Contains(text, jwt) {
				t.Errorf("the secret is in the log: %s", text)
			}
		})
	}
}

func TestRedactionLeavesWhatPeopleNeed(t *testing.T) {
	hash := "0x" + canary
	fields, text := line(t, func(l *slog.Logger) {
		l.Info("transaction sent: see the block", "hash", hash, "key", "key_01h455vb4pex5vsknk084sn02q", "token", "0x5FbDB2315678afecb367f032d93F642f64180aa3",
			"tokens", 3, "took", time.Second, "at", time.Unix(0, 0).UTC(), "err", errors.New("the node says: no"), "nothing", nil, "broken", (*big.Rat)(nil))
	})
	want := map[string]any{"msg": "transaction sent: see the block", "hash": hash, "key": "key_01h455vb4pex5vsknk084sn02q", "token": "0x5FbDB2315678afecb367f032d93F642f64180aa3",
		"tokens": 3.0, "took": 1e9, "at": "1970-01-01T00:00:00Z", "err": "the node says: no", "nothing": nil, "level": "INFO"}
	for key, value := range want {
		if fields[key] != value {
			t.Errorf("%s is %v, want %v in %s", key, fields[key], value, text)
		}
	}
}

func TestLevel(t *testing.T) {
	for name, want := range map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError} {
		if got, err := telemetry.Level(name); err != nil || got != want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if _, err := telemetry.Level("loud"); err == nil {
		t.Error("there is no level loud")
	}
}
