package guaranteetest

import (
	"errors"
	"fmt"
	"math/bits"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
)

// operation is one call on one message, for the linearizability checker.
type operation struct {
	kind string // "accept", "commit", "get"
	text string // accept: which of the rival messages
	from int64  // commit: the version it was decided on
}

// answer is what the call was told.
type answer struct {
	refusal string // "", "reused", "stale", "unknown"
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
var model = porcupine.Model{
	Init: func() any { return register{} },
	Step: func(state, input, output any) (bool, any) {
		s, in, out := state.(register), input.(operation), output.(answer)
		switch in.kind {
		case "accept":
			if s.version == 0 {
				return out.refusal == "" && out.created, register{in.text, 1}
			}
			if s.text != in.text {
				return out.refusal == "reused", s
			}
			return out.refusal == "" && !out.created && out.version == s.version, s
		case "commit":
			if s.version == 0 {
				return out.refusal == "unknown", s
			}
			if s.version != in.from {
				return out.refusal == "stale", s
			}
			return out.refusal == "", register{s.text, s.version + 1}
		default:
			if s.version == 0 {
				return out.refusal == "unknown", s
			}
			return out.refusal == "" && out.text == s.text && out.version == s.version, s
		}
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
}

// linearizable lets many callers accept, commit and read one message at once, and has a checker find an order in which one
// caller after the other would have been told the same (I2, I4).
func linearizable(t *testing.T, b Backend) {
	for range 5 {
		id := Issue(t, b.Store, "cli_a")
		var mu sync.Mutex
		var history []porcupine.Operation
		begun := time.Now()
		together(12, func(client int) {
			for n := range 8 {
				in := operation{kind: "get"}
				switch bits.OnesCount(uint(client*8+n)) % 3 { // a fixed mix, another one for each caller
				case 0:
					in = operation{kind: "accept", text: fmt.Sprint("rival ", client%2)}
				case 1:
					in = operation{kind: "commit", from: int64(1 + n/2)}
				}
				call := time.Since(begun).Nanoseconds()
				out := perform(t, b.Store, id, in)
				mu.Lock()
				history = append(history, porcupine.Operation{ClientId: client, Input: in, Output: out, Call: call, Return: time.Since(begun).Nanoseconds()})
				mu.Unlock()
			}
		})
		if result := porcupine.CheckOperationsTimeout(model, history, 30*time.Second); result != porcupine.Ok {
			t.Fatalf("what %d concurrent calls were told fits no order: %s", len(history), result)
		}
	}
}

func perform(t *testing.T, s guarantee.Store, id message.ID, in operation) answer {
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
