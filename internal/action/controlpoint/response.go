package controlpoint

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/avalhq/aval/internal/problem"
)

// span is a range of status codes, both ends included.
type span struct{ from, to int }

// response is what answers mean, and how one is translated into a result.
type response struct {
	success  []span
	retry    []span // it can be tried again
	undone   []span // of the other statuses: the target has done nothing
	pending  *template
	again    time.Duration
	refusals []refusal
	result   *template // nil: the body
}

// refusal gives a name to an answer that is a final no.
type refusal struct {
	status []span
	when   *template
	name   string
	detail *template
}

var refusalName = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// spans reads "200", "2xx" and "200-299".
func (d *decoder) spans(given []string, path, otherwise string) []span {
	if given == nil {
		given = strings.Fields(otherwise)
	}
	var all []span
	for i, text := range given {
		from, to, ranged := strings.Cut(text, "-")
		if class, ok := strings.CutSuffix(text, "xx"); ok {
			from, to, ranged = class+"00", class+"99", true
		}
		if !ranged {
			to = from
		}
		low, err := strconv.Atoi(from)
		high, wrong := strconv.Atoi(to)
		if err != nil || wrong != nil || low < 100 || high > 599 || low > high {
			d.wrong(fmt.Sprintf("%s.%d", path, i), "must be a status such as 404, 4xx or 500-503")
			continue
		}
		all = append(all, span{low, high})
	}
	return all
}

func among(spans []span, status int) bool {
	for _, s := range spans {
		if s.from <= status && status <= s.to {
			return true
		}
	}
	return false
}

// response compiles what answers mean.
func (l *loader) response(f *responseFile, path string) *response {
	c := l.answer
	r := &response{
		success: c.spans(f.Success, path+".success", "2xx"), retry: c.spans(f.Retry, path+".retry", "408 425 429 5xx"),
		undone: c.spans(f.NothingDone, path+".nothing_done", "429"), pending: c.condition(f.Pending, path+".pending"),
		again: either(f.Again, 2*time.Second), result: c.template(&f.Result, path+".result"),
	}
	for i, given := range f.Refusals {
		at := fmt.Sprintf("%s.refusals.%d", path, i)
		if !refusalName.MatchString(given.Name) {
			l.wrong(at+".name", "must be a name such as funds-short: small letters and hyphens")
		}
		no := refusal{status: c.spans(given.Status, at+".status", ""), when: c.condition(given.When, at+".when"), name: given.Name}
		if given.Detail != "" {
			n := *l.places[at+".detail"]
			no.detail = c.template(&n, at+".detail")
		}
		if no.status == nil && no.when == nil {
			l.wrong(at, "needs status, when, or both")
		}
		r.refusals = append(r.refusals, no)
	}
	return r
}

// reply is an answer as it came.
type reply struct {
	status  int
	headers http.Header
	body    any // JSON; nil for none, and for what is none in an answer that is no success
}

// variables adds the reply to those of the request.
func (r *reply) variables(vars map[string]any) map[string]any {
	all := make(map[string]any, len(vars)+1)
	for name, v := range vars {
		all[name] = v
	}
	headers := make(map[string]any, len(r.headers))
	for name, values := range r.headers {
		headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	all["response"] = map[string]any{"status": json.Number(strconv.Itoa(r.status)), "headers": headers, "body": r.body}
	return all
}

// verdict is what an answer means.
type verdict struct {
	result  json.RawMessage
	pending time.Duration // not finished: ask again after this
	err     error         // no success
	undone  bool          // with err: nothing was done
	failed  bool          // with err: the target is in trouble, which its breaker counts
}

// judge says what an answer means.
func (r *response) judge(t *target, got *reply, vars map[string]any) verdict {
	all := got.variables(vars)
	for _, no := range r.refusals {
		holds, err := no.holds(got.status, all)
		if err != nil && among(r.success, got.status) { // else the status says enough: the body may be that of a gateway
			return unreadable(t, err)
		}
		if holds {
			return verdict{err: problem.New(problem.Unprocessable, no.name, "%s refused: %s", t.name, no.why(got.status, all)), undone: true}
		}
	}
	switch {
	case among(r.success, got.status):
		return r.succeeded(t, all)
	case among(r.retry, got.status):
		undone := among(r.undone, got.status)
		return verdict{err: problem.New(problem.Unavailable, "control-point-failed", "%s answered with status %d", t.name, got.status), undone: undone, failed: true}
	}
	return verdict{err: problem.New(problem.Unprocessable, "control-point-refused", "%s refused with status %d", t.name, got.status), undone: true}
}

func (no refusal) holds(status int, vars map[string]any) (bool, error) {
	if no.status != nil && !among(no.status, status) {
		return false, nil
	}
	if no.when == nil {
		return true, nil
	}
	return no.when.holds(vars)
}

// why is the refusal's detail, or the status where that cannot be told.
func (no refusal) why(status int, vars map[string]any) string {
	if no.detail != nil {
		if text, err := no.detail.string(vars); err == nil {
			return fmt.Sprintf("%.300s", text)
		}
	}
	return fmt.Sprintf("status %d", status)
}

func (r *response) succeeded(t *target, vars map[string]any) verdict {
	if r.pending != nil {
		pending, err := r.pending.holds(vars)
		if err != nil {
			return unreadable(t, err)
		}
		if pending {
			return verdict{pending: r.again}
		}
	}
	if r.result == nil {
		body := vars["response"].(map[string]any)["body"]
		if body == nil {
			body = map[string]any{}
		}
		raw, err := encode(body)
		if err != nil {
			return unreadable(t, err)
		}
		return verdict{result: raw}
	}
	raw, err := r.result.encoded(vars)
	if err != nil {
		return unreadable(t, err)
	}
	return verdict{result: raw}
}

// unreadable is an answer that does not say what came of the request. The request may have been carried out.
func unreadable(t *target, err error) verdict {
	return verdict{err: problem.New(problem.Unprocessable, "control-point-answer-invalid", "the answer of %s cannot be read: %w", t.name, err)}
}
