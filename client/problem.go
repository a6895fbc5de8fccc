package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Problem is a refusal or failure that Aval told (RFC 9457).
type Problem struct {
	Code     string // stable, kebab-case: "message-id-expired"
	Status   int    // of HTTP
	Title    string
	Detail   string // what happened and what to do
	Instance string // names the occurrence; the installation's log has it
	Flaws    []Flaw // where a request does not have its form

	retryAfter time.Duration
}

// Flaw is one mistake in a request's form.
type Flaw struct {
	Location string `json:"location"`
	Message  string `json:"message"`
}

// Error is the detail, with the flaws.
func (p *Problem) Error() string {
	text := p.Detail
	for _, f := range p.Flaws {
		text += fmt.Sprintf(" %s: %s.", f.Location, f.Message)
	}
	return text
}

// CodeOf is the code of the Problem in err, "" without one.
func CodeOf(err error) string {
	var p *Problem
	if errors.As(err, &p) {
		return p.Code
	}
	return ""
}

// problemOf reads the answer to a request that failed.
func problemOf(r *http.Response) *Problem {
	p := &Problem{Status: r.StatusCode, Title: http.StatusText(r.StatusCode), Code: "http-" + strconv.Itoa(r.StatusCode)}
	if seconds, err := strconv.Atoi(r.Header.Get("Retry-After")); err == nil && seconds > 0 {
		p.retryAfter = time.Duration(seconds) * time.Second
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	var told struct {
		Type, Title, Detail, Instance string
		Errors                        []Flaw
	}
	if err != nil || kind != "application/problem+json" || json.Unmarshal(body, &told) != nil {
		p.Detail = "the server answered " + r.Status + " without saying why; is this the address of Aval?"
		return p
	}
	p.Code = told.Type[strings.LastIndexByte(told.Type, '/')+1:]
	p.Title, p.Detail, p.Instance, p.Flaws = told.Title, told.Detail, told.Instance, told.Errors
	return p
}
