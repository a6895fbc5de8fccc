package guaranteetest

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
)

// operation is one call on one message, for the linearizability checker.
type operation struct {
	kind string // "accept", "commit", "get"
	text string // accept: which of the rival messages
	from int64  // commit: the version it was decided on
}

// answer is what the call was told.
type answer struct {
	refusal string // "", "reused", "stale", "unknown"; "open" when it may have happened or not
	created bool
	text    string // of the stored message
	version int64
}

// register is the state that one message has in the model.
type register struct {
	text    string
	version int64 // 0: not accepted
}

// model is Guarantee for one message, said in a few lines.
var model = porcupine.NondeterministicModel{
	Init: func() []any { return []any{register{}} },
	Step: func(state, input, output any) (states []any) {
		s, in, out := state.(register), input.(operation), output.(answer)
		if out.refusal == "open" {
			_, done := s.step(in, answer{created: true})
			return []any{s, done}
		}
		if fits, next := s.step(in, out); fits {
			states = append(states, next)
		}
		return states
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
}

// step says whether a call can have been told this, and what the state is after it.
func (s register) step(in operation, out answer) (fits bool, next register) {
	switch {
	case in.kind == "accept" && s.version == 0:
		return out.refusal == "" && out.created, register{in.text, 1}
	case in.kind == "accept" && s.text != in.text:
		return out.refusal == "reused", s
	case in.kind == "accept":
		return out.refusal == "" && !out.created && out.version == s.version, s
	case s.version == 0:
		return out.refusal == "unknown", s
	case in.kind == "commit" && s.version != in.from:
		return out.refusal == "stale", s
	case in.kind == "commit":
		return out.refusal == "", register{s.text, s.version + 1}
	}
	return out.refusal == "" && out.text == s.text && out.version == s.version, s
}

func linearizable(t *testing.T, b Backend) {
	for range 5 {
		RunLinear(t, []guarantee.Store{b.Store})
	}
}

// RunLinear lets many callers at every one of the stores accept, commit and read one message at once, and has a checker find an order
// in which one caller after the other would have been told the same (I2, I4). The stores are on one storage, each as a process of its
// own. Troubles come over the storage meanwhile, one after the other, and the callers go on for as long: then the outcome of a call
// may not be known.
func RunLinear(t *testing.T, stores []guarantee.Store, troubles ...func()) {
	h := &history{id: Issue(t, stores[0], "cli_a"), begun: time.Now(), troubled: len(troubles) > 0}
	over := make(chan struct{})
	go func() {
		defer close(over)
		for _, trouble := range troubles {
			trouble()
		}
	}()
	together(12, func(client int) {
		for n := 0; n < 8 || h.waits(over, client, n); n++ {
			h.call(t, stores[client%len(stores)], client, n)
		}
	})
	checker := model.ToModel()
	if result := porcupine.CheckOperationsTimeout(checker, h.operations, 2*time.Minute); result != porcupine.Ok {
		t.Fatalf("what %d concurrent calls were told fits no order: %s", len(h.operations), result)
	}
	t.Logf("%d calls, of %d of which the outcome is not known", len(h.operations), h.open)
}

// history is what was asked and told about one message.
type history struct {
	id       message.ID
	begun    time.Time
	troubled bool // the storage fails at times

	mu         sync.Mutex
	newest     int64 // version that anybody was told of
	open       int
	operations []porcupine.Operation
}

// waits goes slower while there is trouble, so that the history stays short enough to be checked.
func (h *history) waits(over <-chan struct{}, client, n int) bool {
	select {
	case <-over:
		return false
	case <-time.After(time.Duration(100+10*client) * time.Millisecond):
		return n < 40
	}
}

// call makes one call, in a fixed mix that is another one for each caller, and notes when and what it was told.
func (h *history) call(t *testing.T, s guarantee.Store, client, n int) {
	in := operation{kind: "get"}
	switch bits.OnesCount(uint(client*8+n)) % 3 {
	case 0:
		in = operation{kind: "accept", text: fmt.Sprint("rival ", client%2)}
	case 1:
		in = operation{kind: "commit", from: h.guess(n)}
	}
	call := time.Since(h.begun).Nanoseconds()
	out := perform(t, s, h.id, in, h.troubled)
	end := time.Since(h.begun).Nanoseconds()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.newest = max(h.newest, out.version)
	if out.refusal == "open" {
		h.open++
		if in.kind == "get" {
			return // it tells nothing, and changes nothing
		}
		end = math.MaxInt64 // it can happen yet
	}
	h.operations = append(h.operations, porcupine.Operation{ClientId: client, Input: in, Output: out, Call: call, Return: end})
}

// guess is a version to commit on: counted up, or, in a long history, the newest known.
func (h *history) guess(n int) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return max(int64(1+n/2), h.newest)
}

func perform(t *testing.T, s guarantee.Store, id message.ID, in operation, troubled bool) answer {
	var out answer
	var rec guarantee.Record
	var err error
	switch in.kind {
	case "accept":
		rec, out.created, err = s.Accept(t.Context(), Acceptance(id, "cli_a", in.text), clock)
	case "commit":
		var refused []error
		refused, err = s.Commit(t.Context(), []guarantee.Transition{Step(guarantee.Record{Verified: message.Verified{Message: message.Message{ID: id}}, Version: in.from}, "Next", guarantee.Running)})
		if err == nil {
			err = refused[0]
		}
	default:
		rec, _, err = s.Get(t.Context(), id)
	}
	switch {
	case errors.Is(err, guarantee.ErrReused):
		out.refusal = "reused"
	case errors.Is(err, guarantee.ErrStale):
		out.refusal = "stale"
	case errors.Is(err, guarantee.ErrUnknown):
		out.refusal = "unknown"
	case err != nil && troubled && problem.From(err).Kind == problem.Unavailable:
		return answer{refusal: "open"}
	case err != nil:
		t.Error(err)
	}
	out.version = rec.Version
	for _, text := range []string{"rival 0", "rival 1"} {
		if string(rec.Original) == string(Acceptance(id, "cli_a", text).Original) {
			out.text = text
		}
	}
	return out
}
