package controller_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/internal/guarantee"
)

// A Map of thousands of items: what each commit writes depends on what has changed, not on how many items there are.

const many = `
StartAt: Read
States:
  Read: {Type: Pass, QueryLanguage: JSONPath, Parameters: {list.$: States.StringToJson($.text)}, Next: Each}
  Each:
    Type: Map
    QueryLanguage: JSONPath
    ItemsPath: $.list
    ItemSelector: {n.$: $$.Map.Item.Value, text: a text of some length that each item carries}
    MaxConcurrency: 40
    ItemProcessor:
      StartAt: Do
      States:
        Do: {Type: Task, QueryLanguage: JSONPath, Resource: do, Catch: [{ErrorEquals: [States.ALL], Next: Bad}], End: true}
        Bad: {Type: Fail, QueryLanguage: JSONPath, Error: bad}
    Next: Keep
  Keep: {Type: Task, QueryLanguage: JSONPath, Resource: archive, End: true}
`

// written is what commits have written of places.
type written struct {
	mu           sync.Mutex
	commits      int
	total, most  int // bytes, in all and while branches were under way
	largestPlace string
}

func (s *written) add(ts []guarantee.Transition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range ts {
		size := len(ts[i].Place) + len(ts[i].Ext)
		for _, p := range ts[i].Parts {
			size += len(p.Key) + len(p.Data)
		}
		s.commits, s.total = s.commits+1, s.total+size
		if ts[i].State == "Each" && size > s.most && len(ts[i].Parts) > 0 && ts[i].Parts[0].Key != "f/i" {
			s.most = size
		}
		if len(ts[i].Place) > len(s.largestPlace) && ts[i].State == "Each" {
			s.largestPlace = string(ts[i].Place)
		}
	}
}

// numbers is a list as JSON.
func numbers(n int) string {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	raw, _ := json.Marshal(list)
	return string(raw)
}

// runMany takes a Map of so many items to its end.
func runMany(t testing.TB, e *engine, items int) *written {
	w := &written{}
	e.written.Store(w)
	e.acceptAs("", numbers(items))
	if rec := wait(t, e.ended); rec.Status != guarantee.Succeeded {
		t.Fatalf("it ended as %s: %s", rec.Status, rec.Reason)
	}
	return w
}

func quick() step.Action {
	return step.Action{Name: "do", Effect: true, Batch: 40, Run: step.Each(func(context.Context, step.Task) (any, error) { return map[string]int{"ok": 1}, nil })}
}

func TestAMapOfThousandsWritesWhatChanges(t *testing.T) {
	e := newEngine(t, many, quick())
	few, lots := runMany(t, e, 500), runMany(t, e, 5000)
	for items, w := range map[int]*written{500: few, 5000: lots} {
		t.Logf("%d items: %d commits, %d bytes an item, %d at the most in one commit", items, w.commits, w.total/items, w.most)
		if len(w.largestPlace) > 200 || strings.Contains(w.largestPlace, `"i"`) {
			t.Errorf("the place beside the parts is %s", w.largestPlace)
		}
		if w.most > 40*400 {
			t.Errorf("with %d items one commit wrote %d bytes", items, w.most)
		}
	}
	if a, b := few.total/500, lots.total/5000; b > a+a/4 {
		t.Errorf("an item of 500 writes %d bytes, one of 5000 writes %d", a, b)
	}
}

// TestAMapOfThousandsWithoutEffectIsNoCircle: its steps are chained, and stored in pieces.
func TestAMapOfThousandsWithoutEffectIsNoCircle(t *testing.T) {
	source := strings.Replace(many, "Resource: do", "Resource: check", 1)
	e := newEngine(t, source, pure("check"))
	w := runMany(t, e, 2500)
	if w.commits < 2 || w.commits > 20 {
		t.Errorf("2500 steps without an effect were stored by %d commits", w.commits)
	}
}

// BenchmarkMap takes Maps of different sizes to their ends, over SQLite. The unit is an item.
func BenchmarkMap(b *testing.B) {
	for _, items := range []int{500, 5000} {
		b.Run(fmt.Sprint(items), func(b *testing.B) {
			e := newEngine(b, many, quick())
			var bytes int
			for b.Loop() {
				bytes = runMany(b, e, items).total
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*items), "µs/item")
			b.ReportMetric(float64(bytes)/float64(items), "B-written/item")
		})
	}
}
