package e2e

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/test/e2e/stage"
)

// examples are the files of docs/control-points.md.
const examples = "../../examples/control-points"

// blocked is a payee that is on a list.
const (
	blocked = "0x00000000000000000000000000000000000bad00"
	ether   = "1000000000000000000"
)

// screened is the scene of the worked example: its files, unchanged but for the addresses of the other systems and for
// times that a test can wait for, against a counterparty with a journal of its own.
type screened struct {
	*scene
	other *stage.Counterparty
}

func openScreened(t *testing.T) screened {
	t.Helper()
	other := stage.NewCounterparty(t)
	folder := t.TempDir()
	copyExample(t, folder, other.URL)
	s := screened{open(t, map[string]any{
		"workflows":      filepath.Join(folder, "workflows"),
		"control_points": map[string]any{"folder": filepath.Join(folder, "points"), "allow": "127.0.0.1"},
	}), other}
	other.Answer("/quick/", func(_ map[string]any, r *http.Request) (int, any) {
		return 200, map[string]any{"sanctioned": strings.HasSuffix(strings.ToLower(r.URL.Path), blocked), "token": r.Header.Get("Authorization")}
	})
	asked := 0
	other.Answer("/thorough/screenings", func(body map[string]any, r *http.Request) (int, any) {
		if asked++; asked%2 == 1 {
			return 202, map[string]any{}
		}
		return 200, map[string]any{"matches": []any{}}
	})
	other.Answer("/bank/holds", func(body map[string]any, r *http.Request) (int, any) {
		if r.Method == http.MethodPost && strings.HasSuffix(body["amount"].(string), "402") {
			return 402, map[string]any{"reason": "the account is short"}
		}
		return 0, nil
	})
	return s
}

func copyExample(t *testing.T, folder, url string) {
	t.Helper()
	secrets := filepath.Join(folder, "secrets")
	replace := strings.NewReplacer(
		"https://quick.screening.example/v2", url+"/quick", "https://thorough.screening.example", url+"/thorough", "https://adapter.bank.example/v1", url+"/bank",
		"https://north.register.example", url+"/north", "https://south.register.example", url+"/south", "https://east.register.example", url+"/east",
		"file:secrets/", "file:"+secrets+"/", "timeout: 10s", "timeout: 1s", "settle: 15s", "settle: 300ms", "pause: 30s", "pause: 300ms", "MaxDelaySeconds: 60", "MaxDelaySeconds: 1",
	)
	err := filepath.WalkDir(examples, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		to := filepath.Join(folder, strings.TrimPrefix(path, examples))
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		return os.WriteFile(to, []byte(replace.Replace(string(raw))), 0o600)
	})
	if err == nil {
		err = os.MkdirAll(secrets, 0o700)
	}
	for _, name := range []string{"quick-token", "thorough-key", "bank-token", "register-token"} {
		if err == nil {
			err = os.WriteFile(filepath.Join(secrets, name), []byte(canary+"\n"), 0o600)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// once checks the counterparty's own journal: n requests of a path were done, each once (I5).
func (s screened) once(path string, n int) {
	s.t.Helper()
	done := s.other.Done(path)
	if len(done) != n {
		s.t.Errorf("%s: %d were done, want %d", path, len(done), n)
	}
	for key, times := range done {
		if times != 1 {
			s.t.Errorf("I5: %s: %s was done %d times", path, key, times)
		}
	}
}

// TestControlPoints is the story of docs/control-points.md, told once.
func TestControlPoints(t *testing.T) {
	s := openScreened(t)
	small := s.transfer(payee, "native", "25")
	large := s.transfer(payee, "native", "2"+ether[1:])
	listed := s.transfer(blocked, "native", "25")
	short := s.transfer(payee, "native", "402")
	tooMuch := s.transfer(payee, "native", "5000"+ether[1:]) // the wallet has 100
	s.ends(small.ID, client.Succeeded)
	s.ends(large.ID, client.Succeeded)
	for id, reason := range map[string]string{listed.ID: "payee-blocked: the payee is on a list of quick", short.ID: "funds-short: bank refused: the account is short", tooMuch.ID: "insufficient-funds"} {
		if rec := s.ends(id, client.Failed); !strings.Contains(rec.Reason, reason) {
			t.Errorf("it failed with %q, not %q", rec.Reason, reason)
		}
	}
	s.once("/bank/holds", 3)
	s.once("/bank/releases", 1)
	for _, register := range []string{"/north", "/south", "/east"} {
		for key, times := range s.other.Done(register + "/entries") {
			if times != 1 {
				t.Errorf("I5: %s has %s %d times", register, key, times)
			}
		}
	}
	if paid := s.paid(s.wallet.Address); len(paid) != 2 {
		t.Errorf("the chain shows %d transfers", len(paid))
	}
	metrics := string(s.alice.Do(t, "GET", "/metrics", "", nil).Body)
	for _, line := range []string{`aval_control_point_seconds_count{outcome="answered",point="bank-hold",target="bank"}`, `point="screening",target="thorough"`, `outcome="refused",point="bank-hold"`} {
		if !strings.Contains(metrics, line) {
			t.Errorf("the metrics lack %s", line)
		}
	}
	full, err := s.operator.Get(t.Context(), large.ID)
	if text := s.process.Stderr(); err != nil || strings.Contains(text, canary) || strings.Contains(string(full.Ext), canary) {
		t.Errorf("I25: a secret is in the log or the record: %v", err)
	}
}

// TestI5KilledBetweenSendAndAnswer: the other system kills Aval when it hears a request, before or after it has done what it was
// asked, in every step; and the journal's own writes are killed. Each effect is there once.
func TestI5KilledBetweenSendAndAnswer(t *testing.T) {
	s := openScreened(t)
	sent := 0
	for _, service := range []string{"bank", "north", "south", "east"} {
		for _, trouble := range []stage.Trouble{stage.Unheard, stage.Lost} {
			s.killed(service, trouble)
			sent++
		}
	}
	for _, rule := range []string{"calls.begin.before", "calls.begin.after", "calls.end.before", "calls.end.after"} {
		s.struck(rule + "=kill@1")
		sent++
	}
	s.once("/bank/holds", sent)
	s.once("/bank/releases", 0)
	registered := 0
	for _, register := range []string{"/north/entries", "/south/entries"} { // east promises that twice is once
		done := s.other.Done(register)
		s.once(register, len(done))
		registered += len(done)
	}
	if registered+len(s.other.Done("/east/entries")) < 2*sent {
		t.Errorf("%d transfers have %d entries in registers", sent, registered)
	}
	if paid := s.paid(s.wallet.Address); len(paid) != sent {
		t.Errorf("the chain shows %d transfers of %d", len(paid), sent)
	}
}

// killed sends a transfer and kills Aval when the service hears of an effect. Those asked at the same time answer after that: two of
// three are enough, and the third would not be asked any more.
func (s screened) killed(service string, trouble stage.Trouble) {
	s.t.Helper()
	var once sync.Once
	struck := make(chan struct{})
	process := s.process
	s.other.Trouble(func(name string, r *http.Request) (meets stage.Trouble) {
		if r.Method != http.MethodPost || name != service && (service == "bank" || !slices.Contains([]string{"north", "south", "east"}, name)) {
			return stage.Fine
		}
		if name != service {
			<-struck
			return stage.Fine
		}
		once.Do(func() {
			process.Kill()
			close(struck)
			meets = trouble
		})
		return meets
	})
	rec := s.transfer(payee, "native", "25")
	s.dies()
	s.serve()
	s.ends(rec.ID, client.Succeeded)
	s.other.Trouble(nil)
}

// struck restarts Aval with a fault, sends a transfer, and starts it again when the fault has killed it.
func (s screened) struck(rule string) {
	s.t.Helper()
	s.process.Kill()
	process, err := s.in.Start(rule)
	if err != nil {
		s.t.Fatal(err)
	}
	s.process = process
	s.t.Cleanup(process.Kill)
	<-process.Ready
	rec := s.transfer(payee, "native", "25")
	s.dies()
	s.serve()
	s.ends(rec.ID, client.Succeeded)
}

func (s screened) dies() {
	s.t.Helper()
	select {
	case <-s.process.Done:
	case <-time.After(patience):
		s.t.Fatal("it was not killed")
	}
}

// TestI5LostAnswersAndStorms: answers are lost, come late, say 500 whether or not it was done, and a storm opens the breaker.
func TestI5LostAnswersAndStorms(t *testing.T) {
	s := openScreened(t)
	troubles := []stage.Trouble{stage.Lost, stage.Both, stage.Unheard, stage.Late, stage.Storm, stage.Fine}
	var n atomic.Int64
	s.other.Trouble(func(service string, r *http.Request) stage.Trouble {
		if service == "quick" || r.Method == http.MethodGet && n.Load()%3 == 0 {
			return stage.Fine
		}
		return troubles[int(n.Add(1))%len(troubles)]
	})
	var ids []string
	for range 10 {
		ids = append(ids, s.transfer(payee, "native", "25").ID)
	}
	ids = append(ids, s.transfer(payee, "native", "5000"+ether[1:]).ID)
	more := s.opened("bank")
	s.other.Trouble(nil)
	for _, id := range append(more, ids[:10]...) {
		s.ends(id, client.Succeeded)
	}
	s.ends(ids[10], client.Failed)
	s.once("/bank/holds", 11+len(more))
	s.once("/bank/releases", 1)
	for _, register := range []string{"/north/entries", "/south/entries"} {
		s.once(register, len(s.other.Done(register)))
	}
	if paid := s.paid(s.wallet.Address); len(paid) != 10+len(more) {
		t.Errorf("the chain shows %d transfers", len(paid))
	}
}

// opened lets a storm rage over transfers until the breaker of the bank is open, which readiness notes without failing.
func (s screened) opened(target string) (ids []string) {
	s.t.Helper()
	s.other.Trouble(func(service string, r *http.Request) stage.Trouble {
		if service == target {
			return stage.Storm
		}
		return stage.Fine
	})
	for range 5 {
		ids = append(ids, s.transfer(payee, "native", "25").ID)
	}
	deadline := time.Now().Add(patience)
	for tick := time.NewTicker(20 * time.Millisecond); time.Now().Before(deadline); <-tick.C {
		answer := s.alice.Do(s.t, "GET", "/readyz", "", nil)
		if answer.Status != 200 {
			s.t.Fatalf("not ready: %s", answer.Body)
		}
		if strings.Contains(string(answer.Body), target+" of bank-hold (open)") {
			return ids
		}
	}
	s.t.Error("no breaker was opened")
	return ids
}
