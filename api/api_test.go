package api_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/avalhq/aval/internal/server"
)

func document(t *testing.T) []byte {
	t.Helper()
	s, err := server.New(server.Config{Log: slog.New(slog.DiscardHandler)}, server.Services{})
	if err != nil {
		t.Fatal(err)
	}
	return s.OpenAPI()
}

func TestDocumentIsWhatTheServerServes(t *testing.T) {
	committed, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(committed, document(t)) {
		t.Error("openapi.json is not what the server serves; run: go generate ./api")
	}
}

// Every reference leads somewhere, every operation says what it is for, who may call it and what a refusal looks like.
func TestDocumentIsComplete(t *testing.T) {
	var doc struct {
		OpenAPI    string
		Components struct{ Schemas map[string]any }
		Paths      map[string]map[string]struct {
			Summary, OperationID string
			Security             []any
			Responses            map[string]any
		}
	}
	raw := document(t)
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	if doc.OpenAPI != "3.1.0" {
		t.Errorf("OpenAPI %s", doc.OpenAPI)
	}
	const ref = `"$ref": "#/components/schemas/`
	for rest := string(raw); strings.Contains(rest, ref); {
		_, rest, _ = strings.Cut(rest, ref)
		name, _, _ := strings.Cut(rest, `"`)
		if doc.Components.Schemas[name] == nil {
			t.Errorf("there is no schema %s", name)
		}
	}
	ids := map[string]bool{}
	for path, operations := range doc.Paths {
		for method, op := range operations {
			if op.Summary == "" || op.OperationID == "" || ids[op.OperationID] || len(op.Security) == 0 || op.Responses["default"] == nil {
				t.Errorf("%s %s is not complete: %+v", method, path, op)
			}
			ids[op.OperationID] = true
		}
	}
}
