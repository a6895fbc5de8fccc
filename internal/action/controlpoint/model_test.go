package controlpoint_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"github.com/avalhq/aval/internal/backend/sqlite"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/message"
)

// TestI5WhateverHappens runs one effect through any sequence of troubles: of the connection, of the answer, and of the journal's own
// writes, which fail or are stored and reported as failed; after each the process is another one. The bank promises
// nothing, and its own journal says whether something was done twice.
func TestI5WhateverHappens(t *testing.T) {
	faults := fault.New()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "aval.db"), sqlite.Options{Faults: faults})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	b := newBank(t)
	for name, more := range map[string]string{"looked up": lookupPart, "left alone": ""} {
		t.Run(name, func(t *testing.T) {
			source := fmt.Sprintf(holdFile, b.URL, "", more)
			rapid.Check(t, func(rt *rapid.T) {
				s := &subject{t: t, journal: sqlite.NewCalls(db)}
				s.rec.ID, s.rec.Body = message.NewID(), []byte("{}")
				b.mu.Lock()
				clear(b.holds)
				b.mu.Unlock()
				done := false
				for i, what := range rapid.SliceOfN(rapid.SampledFrom(troubles()), 1, 6).Draw(rt, "troubles") {
					s.load(source)
					what.begin(b, faults)
					done = code(s.run(i > 0, fifty)) == "ok" || done
					what.end(b, faults)
					checkOnce(rt, b, done)
				}
				s.load(source)
				last := "later"
				for last == "later" { // the look-up came too early to prove anything
					last = code(s.run(true, fifty))
				}
				if last != "ok" && (more != "" || last != "control-point-unknown") {
					rt.Errorf("with no trouble any more it is %s", last)
				} else {
					checkOnce(rt, b, last == "ok")
				}
			})
		})
	}
}

func checkOnce(rt *rapid.T, b *bank, done bool) {
	if effects := b.effects(); effects != "50;" && (effects != "" || done) {
		rt.Fatalf("I5: the bank has %q, and Aval believes that it is done: %t", effects, done)
	}
}

// trouble is what happens during one attempt.
type trouble struct {
	name          string
	before, after func(http.ResponseWriter, *http.Request) bool
	strike        string // a point of the journal that fails
}

// String is its name, for when a sequence fails.
func (x trouble) String() string { return x.name }

func troubles() []trouble {
	status := func(code int) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(code); return true }
	}
	all := []trouble{
		{name: "none"}, {name: "unheard", before: hangUp}, {name: "lost", after: hangUp}, {name: "500", before: status(500)}, {name: "done and 500", after: status(500)},
		{name: "done and 502 at last", after: status(502)}, {name: "429", before: status(429)}, {name: "refused", before: status(400)},
	}
	for _, point := range []string{"calls.begin.before", "calls.begin.after", "calls.end.before", "calls.end.after"} {
		all = append(all, trouble{name: point, strike: point}, trouble{name: point + " and lost", strike: point, after: hangUp})
	}
	return all
}

func (x trouble) begin(b *bank, faults *fault.Points) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.before, b.after = x.before, x.after
	if x.strike != "" {
		faults.Arm(x.strike, fault.Fail, 1)
	}
}

func (x trouble) end(b *bank, faults *fault.Points) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.before, b.after = nil, nil
	if x.strike != "" {
		faults.Arm(x.strike, fault.Fail, 1<<30) // never: it was not passed
	}
}
