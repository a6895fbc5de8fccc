package server

import (
	"context"
	"net/http"
	"time"

	"github.com/avalhq/aval/internal/clients"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/reference"
)

func (s *Server) queryRoutes() {
	list := operation("list-messages", http.MethodGet, "/v1/messages", "messages", "List messages, newest first", byEither)
	list.Description = "Answered by the read model, which follows within moments. Pass next of one page as cursor to get the following one."
	route(s, list, s.list)
	route(s, operation("count-messages", http.MethodGet, "/v1/counts", "messages", "Count messages by type and state", byEither), s.counts)
}

type listInput struct {
	Client string           `query:"client" maxLength:"64" doc:"Operators only."`
	Type   string           `query:"type" maxLength:"64"`
	State  string           `query:"state" maxLength:"64" doc:"Of the workflow: where the message stands, or where it ended."`
	Status guarantee.Status `query:"status" enum:"running,waiting,parked,succeeded,failed"`
	Wallet string           `query:"wallet" maxLength:"64"`
	From   time.Time        `query:"from" doc:"Accepted at or after."`
	To     time.Time        `query:"to" doc:"Accepted before."`
	Cursor string           `query:"cursor" maxLength:"256"`
	Limit  int              `query:"limit" minimum:"1" maximum:"500" default:"50"`
}

// MessagePage is a part of a list of messages.
type MessagePage struct {
	Messages []*Message `json:"messages" nullable:"false"`
	Next     string     `json:"next,omitempty" doc:"The cursor of the next page; absent on the last one."`
}

func (s *Server) list(ctx context.Context, in *listInput) (*body[MessagePage], error) {
	if in.State == Archived {
		return nil, problem.New(problem.Unprocessable, "state-not-listed", "what is archived is listed by the state that it ended in, or by status succeeded or failed")
	}
	client, err := narrowed(ctx, in.Client)
	if err != nil {
		return nil, err
	}
	page, err := s.Queries.List(ctx, reference.Query{
		Client: client, Type: in.Type, State: in.State, Status: in.Status, Wallet: in.Wallet,
		From: in.From, To: in.To, Cursor: in.Cursor, Limit: in.Limit,
	})
	if err != nil {
		return nil, err
	}
	out := MessagePage{Messages: make([]*Message, len(page.Rows)), Next: page.Next}
	for i, row := range page.Rows {
		out.Messages[i] = viewOfSnapshot(row)
	}
	return &body[MessagePage]{Body: out}, nil
}

// narrowed is the client that a query is about. A client may name itself alone (A21).
func narrowed(ctx context.Context, asked string) (string, error) {
	c := callerOf(ctx)
	if asked != "" && !c.sees(asked) {
		return "", clients.ErrUnknown
	}
	if c.operator {
		return asked, nil
	}
	return c.client, nil
}

// Counts is the number of messages in each state.
type Counts struct {
	Counts []Count `json:"counts" nullable:"false"`
}

// Count is a number of messages in one state.
type Count struct {
	Type   string           `json:"type"`
	State  string           `json:"state"`
	Status guarantee.Status `json:"status" enum:"running,waiting,parked,succeeded,failed"`
	Number int64            `json:"number"`
}

func (s *Server) counts(ctx context.Context, _ *struct{}) (*body[Counts], error) {
	counts, err := s.Queries.Counts(ctx, callerOf(ctx).scope())
	if err != nil {
		return nil, err
	}
	out := Counts{Counts: make([]Count, len(counts))}
	for i, c := range counts {
		out.Counts[i] = Count(c)
	}
	return &body[Counts]{Body: out}, nil
}
