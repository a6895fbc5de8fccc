package controlpoint

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/internal/problem"
)

// gather says how many of several targets have to answer.
type gather struct {
	want   string // all, first, quorum
	quorum int
	result *template // nil: the list of answers
}

// needs is how many of n targets have to answer.
func (g *gather) needs(n int) int {
	switch g.want {
	case "first":
		return 1
	case "quorum":
		return g.quorum
	}
	return n
}

// answer is what one target came to, as the list of answers has it.
type answer struct {
	Target string          `json:"target"`
	Status string          `json:"status"` // answered, refused, failed, pending, unknown, cancelled
	Result json.RawMessage `json:"result,omitempty"`
	Error  string          `json:"error,omitempty"`
	Cause  string          `json:"cause,omitempty"`
	again  time.Duration
}

// scatter asks all at once and waits until enough have answered, or until it is certain that not enough will. The others
// are called off then; of those it is not known what they did, and that is what the list says.
func (c *conversation) scatter(ctx context.Context, names []string) step.Outcome {
	asking, callOff := context.WithCancel(ctx)
	defer callOff()
	type came struct {
		at int
		v  verdict
	}
	arrivals := make(chan came, len(names))
	for i, name := range names {
		go func() {
			defer func() { // here, for the controller sees panics of its own goroutine alone (I18)
				if r := recover(); r != nil {
					arrivals <- came{i, verdict{err: problem.New(problem.Internal, "action-panicked", "asking %s failed unexpectedly", name)}}
				}
			}()
			arrivals <- came{i, c.leg(asking, name)}
		}()
	}
	answers, good := make([]answer, len(names)), 0
	for range names {
		a := <-arrivals
		if answers[a.at] = a.v.answer(names[a.at]); answers[a.at].Status == "answered" {
			good++
		}
		if good >= c.op.gather.needs(len(names)) {
			break
		}
	}
	callOff()
	for i := range answers {
		if answers[i].Target == "" {
			answers[i] = answer{Target: names[i], Status: "cancelled"}
		}
	}
	if good >= c.op.gather.needs(len(names)) {
		return c.gathered(answers, good)
	}
	return c.short(answers, good)
}

// answer is the verdict as the list has it.
func (v verdict) answer(target string) answer {
	a := answer{Target: target, Status: "answered", Result: v.result, again: v.pending}
	if v.pending > 0 {
		a.Status = "pending"
	}
	if v.err == nil {
		return a
	}
	switch p := problem.From(v.err); {
	case p.Code == "control-point-unknown":
		a.Status, a.Error, a.Cause = "unknown", p.Code, p.Detail
	case p.Kind == problem.Unavailable || p.Kind == problem.TooMany:
		a.Status, a.Error, a.Cause = "failed", p.Code, p.Detail
	case v.undone:
		a.Status, a.Error, a.Cause = "refused", p.Code, p.Detail
	default:
		a.Status, a.Error, a.Cause = "unknown", p.Code, p.Detail
	}
	return a
}

// gathered is the outcome when enough have answered.
func (c *conversation) gathered(answers []answer, good int) step.Outcome {
	raw, err := encode(map[string]any{"answers": answers})
	if err == nil && c.op.gather.result != nil {
		var seen any
		if seen, err = parse(raw); err == nil {
			seen.(map[string]any)["args"], seen.(map[string]any)["message"] = c.args, c.message
			raw, err = c.op.gather.result.encoded(seen.(map[string]any))
		}
	}
	if err == nil && len(raw) > maxResult {
		err = fmt.Errorf("it has %d bytes; %d are allowed", len(raw), maxResult)
	}
	if err == nil {
		err = c.fits(raw)
	}
	if err != nil {
		return step.Outcome{Err: problem.New(problem.Unprocessable, "control-point-answer-invalid", "what the targets of %s answered together is not its result: %w", c.op.name, err)}
	}
	return step.Outcome{Output: raw, Note: fmt.Sprintf("%d of %d answered", good, len(answers))}
}

// short is the outcome when too few have answered: asked again while enough still can.
func (c *conversation) short(answers []answer, good int) step.Outcome {
	need := c.op.gather.needs(len(answers))
	counts, told := map[string]int{}, []string{}
	var again time.Duration
	for _, a := range answers {
		counts[a.Status]++
		again = max(again, a.again)
		switch {
		case a.Error != "":
			told = append(told, fmt.Sprintf("%s %s (%s)", a.Target, a.Status, a.Error))
		default:
			told = append(told, a.Target+" "+a.Status)
		}
	}
	who := fmt.Sprintf("%d of %d answers are needed and there are %d: %s", need, len(answers), good, strings.Join(told, ", "))
	switch {
	case counts["failed"] == 0 && good+counts["pending"] >= need:
		return step.Outcome{Later: again, Note: who}
	case good+counts["pending"]+counts["failed"] >= need:
		return step.Outcome{Err: problem.New(problem.Unavailable, "control-point-incomplete", "%s", who)}
	case good+counts["pending"]+counts["failed"]+counts["unknown"] >= need:
		return step.Outcome{Err: problem.New(problem.Conflict, "control-point-unknown", "%s", who)}
	}
	return step.Outcome{Err: problem.New(problem.Unprocessable, "control-point-short", "%s", who)}
}
