package server

import (
	"bytes"
	"context"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
)

type byID struct {
	ID string `path:"id" maxLength:"64"`
}

type body[T any] struct {
	Body T
}

func (s *Server) messageRoutes() {
	route(s, operation("issue-message-ids", http.MethodPost, "/v1/message-ids", "messages", "Issue ids for messages to be signed", byClient), s.issue)
	submit := operation("submit-message", http.MethodPut, "/v1/messages/{id}", "messages", "Submit a signed message", byClient)
	submit.Description = "The body is kept byte for byte. The same bytes again get the stored message (200); other bytes under the same id are refused (409)."
	submit.DefaultStatus = http.StatusCreated
	submit.SkipValidateBody = true // the catalog does, on the bytes that were signed
	submit.Responses = map[string]*huma.Response{"200": {
		Description: "The message was submitted before.",
		Content:     map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Ref: "#/components/schemas/Message"}}},
	}}
	route(s, submit, s.submit)
	submitted := s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[message.Submission](), true, "")
	s.api.OpenAPI().Paths[submit.Path].Put.RequestBody.Content["application/json"].Schema = submitted
	route(s, operation("get-message", http.MethodGet, "/v1/messages/{id}", "messages", "Read a message", byEither), s.get)
	original := operation("get-message-original", http.MethodGet, "/v1/messages/{id}/original", "messages", "Read the exact bytes that were submitted", byEither)
	original.Responses = map[string]*huma.Response{"200": {Content: map[string]*huma.MediaType{"application/json": {Schema: submitted}}}}
	route(s, original, s.original)
	route(s, operation("get-message-history", http.MethodGet, "/v1/messages/{id}/history", "messages", "Read every step that a message has taken", byEither), s.history)
	route(s, operation("explain-message", http.MethodGet, "/v1/messages/{id}/why", "messages", "Tell why a message stands where it does, and what it waits for", byEither), s.why)
}

// IssuedIDs is the answer to a request for ids.
type IssuedIDs struct {
	Client  string        `json:"client"`
	IDs     []Issued      `json:"ids" nullable:"false"`
	Domains []ChainDomain `json:"domains" nullable:"false" doc:"What typed data for each chain has to be signed under."`
}

// Issued is an id that a message can be signed with until it expires.
type Issued struct {
	ID      message.ID `json:"id"`
	Expires time.Time  `json:"expires"`
}

type issueInput struct {
	Body *struct { // may be left out
		Count int `json:"count,omitempty" minimum:"1" default:"1" doc:"How many; 1000 at most unless configured otherwise."`
	}
}

func (s *Server) issue(ctx context.Context, in *issueInput) (*body[IssuedIDs], error) {
	n := 1
	if in.Body != nil {
		n = max(in.Body.Count, 1)
	}
	if n > s.config.MaxIDs {
		return nil, problem.New(problem.Unprocessable, "too-many-ids", "at most %d ids are issued at once", s.config.MaxIDs)
	}
	client := callerOf(ctx).client
	issued, err := s.Messages.Issue(ctx, client, n)
	if err != nil {
		return nil, err
	}
	out := IssuedIDs{Client: client, IDs: make([]Issued, len(issued)), Domains: make([]ChainDomain, len(s.config.Chains))}
	for i, id := range issued {
		out.IDs[i] = Issued{ID: id.ID, Expires: id.Expires.UTC()}
	}
	for i, c := range s.config.Chains {
		out.Domains[i] = ChainDomain{Chain: c.ID, Domain: c.Domain}
	}
	return &body[IssuedIDs]{Body: out}, nil
}

type submitInput struct {
	ID      string `path:"id" maxLength:"64"`
	RawBody []byte `contentType:"application/json"`
}

type submitOutput struct {
	Status int
	Body   *Message
}

func (s *Server) submit(ctx context.Context, in *submitInput) (*submitOutput, error) {
	id, err := message.ParseID(in.ID)
	if err != nil {
		return nil, err
	}
	original := bytes.Clone(in.RawBody) // huma takes its buffer back after this call
	rec, created, err := s.Messages.Submit(ctx, callerOf(ctx).client, id, original)
	if err != nil {
		return nil, err
	}
	out := &submitOutput{Status: http.StatusOK, Body: s.view(rec)}
	if created {
		out.Status = http.StatusCreated
	}
	return out, nil
}

func (s *Server) get(ctx context.Context, in *byID) (*body[*Message], error) {
	rec, _, err := s.message(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &body[*Message]{Body: s.view(rec)}, nil
}

type rawOutput struct {
	ContentType string `header:"Content-Type"`
	Body        []byte `contentType:"application/json"`
}

func (s *Server) original(ctx context.Context, in *byID) (*rawOutput, error) {
	rec, _, err := s.message(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &rawOutput{ContentType: "application/json", Body: rec.Original}, nil
}

// History is the list of a message's steps, oldest first.
type History struct {
	ID      message.ID        `json:"id"`
	Entries []guarantee.Entry `json:"entries" nullable:"false"`
}

func (s *Server) history(ctx context.Context, in *byID) (*body[History], error) {
	rec, entries, err := s.message(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &body[History]{Body: History{ID: rec.ID, Entries: entries}}, nil
}

func (s *Server) why(ctx context.Context, in *byID) (*body[guarantee.Why], error) {
	rec, _, err := s.message(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	why, err := s.Why(ctx, rec.ID, callerOf(ctx).operator)
	if err != nil {
		return nil, err
	}
	return &body[guarantee.Why]{Body: why}, nil
}
