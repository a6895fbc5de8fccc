package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/avalhq/aval/internal/problem"
)

// Problem is the answer to everything that fails: problem details of RFC 9457.
type Problem struct {
	Type     string `json:"type" doc:"/problems/ and the code that programs match." example:"/problems/message-id-expired"`
	Title    string `json:"title" doc:"What sort of problem it is." example:"Gone"`
	Status   int    `json:"status" doc:"The HTTP status." example:"410"`
	Detail   string `json:"detail" doc:"What happened and what to do, for people."`
	Instance string `json:"instance" doc:"Names this occurrence; the log has it." example:"urn:uuid:4d7c1c7e-0b0e-4b6e-9c1c-6a7a3b1e5f00"`
	Errors   []Flaw `json:"errors,omitempty" doc:"Where a request does not have the form that it should."`

	cause error
}

// Flaw is one mistake in a request's form.
type Flaw struct {
	Location string `json:"location" doc:"Where: body.count, query.limit." example:"body.count"`
	Message  string `json:"message" doc:"What is expected there."`
}

// Error is the Detail.
func (p *Problem) Error() string { return p.Detail }

// Unwrap gives the error that it was rendered from.
func (p *Problem) Unwrap() error { return p.cause }

// GetStatus tells huma the status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is that of RFC 9457.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// GetHeaders are the headers that belong to the status.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	switch p.Status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", `Bearer realm="aval", error="invalid_token"`)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		h.Set("Retry-After", "1")
	}
	return h
}

// problem renders an error: the one place that does. What is not a typed refusal is a defect or an outage; its text is for
// the log alone (I25).
func (s *Server) problem(ctx context.Context, err error) *Problem {
	var done *Problem
	if errors.As(err, &done) {
		return done
	}
	typed := problem.From(err)
	p := &Problem{
		Type: "/problems/" + typed.Code, Title: http.StatusText(typed.Kind.Status()), Status: typed.Kind.Status(),
		Detail: typed.Detail, Instance: "urn:uuid:" + uuid.NewString(), cause: err,
	}
	level := slog.LevelDebug
	if typed.Kind == problem.Internal {
		level = slog.LevelError
		p.Type, p.Detail = "/problems/internal", "Aval failed in a way that it should not; nothing is known to be lost. The log has this instance."
	}
	s.log.LogAttrs(ctx, level, "request refused", slog.String("instance", p.Instance), slog.String("problem", typed.Code), slog.String("error", detail(err)))
	return p
}

// detail is the whole chain of an error's causes, for the log.
func detail(err error) string {
	var typed *problem.Error
	if errors.As(err, &typed) && typed.Cause != nil && !strings.Contains(err.Error(), typed.Cause.Error()) {
		return err.Error() + ": " + typed.Cause.Error()
	}
	return err.Error()
}

// form turns what huma says of a request's form into a Problem. It is a transformer of this API because huma's own hook for
// that is a variable of its package; the values that huma would repeat are dropped.
func (s *Server) form(ctx huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := &Problem{
		Type: "/problems/" + formCode(m.Status), Title: http.StatusText(m.Status), Status: m.Status,
		Detail: "The request does not have the form that the OpenAPI document asks for.", Instance: "urn:uuid:" + uuid.NewString(),
	}
	for _, e := range m.Errors {
		if e.Location == "body" && (m.Status == http.StatusBadRequest || strings.HasPrefix(e.Message, "json:")) {
			e.Message = "must be JSON of the form in the OpenAPI document" // the parser's own words repeat parts of the input
		}
		if strings.HasPrefix(e.Message, "unexpected") || strings.HasPrefix(e.Message, "unknown") {
			e.Location, _, _ = strings.Cut(e.Location, ".") // the rest was made up by the caller
		}
		p.Errors = append(p.Errors, Flaw{Location: e.Location, Message: e.Message})
	}
	if len(m.Errors) == 0 {
		p.Detail = sentence(m.Detail)
	}
	if m.Status == http.StatusInternalServerError {
		p.Detail = "Aval failed to read the request or to write the answer. The log has this instance."
	}
	s.log.LogAttrs(ctx.Context(), slog.LevelDebug, "request refused", slog.String("instance", p.Instance), slog.String("problem", m.Detail))
	return p, nil
}

func formCode(status int) string {
	switch status {
	case http.StatusRequestEntityTooLarge:
		return "request-too-large"
	case http.StatusUnsupportedMediaType:
		return "media-type-unsupported"
	case http.StatusRequestTimeout:
		return "request-timeout"
	case http.StatusInternalServerError:
		return "internal"
	}
	return "request-invalid"
}

func sentence(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}
