package server

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/avalhq/aval/internal/event"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
)

func (s *Server) streamRoutes() {
	schemas := s.api.OpenAPI().Components.Schemas
	one := operation("follow-message", http.MethodGet, "/v1/messages/{id}/events", "messages", "Follow a message live", byEither)
	one.Description = "Event `step` for each entry of the history, from the first or after Last-Event-ID, then as they happen; its id is the version. Event `end`, with the message, when it is final."
	route(s, streamed(one, schemas.Schema(reflect.TypeFor[Step](), true, "")), s.followMessage)
	all := operation("follow-messages", http.MethodGet, "/v1/events", "messages", "Follow all messages live", byEither)
	all.Description = "Event `message` with the message each time it has moved, from now on or after Last-Event-ID; operators follow those of all clients. Event `gap` when what followed Last-Event-ID is no longer held: list the messages to catch up."
	route(s, streamed(all, schemas.Schema(reflect.TypeFor[Message](), true, "")), s.followAll)
}

// Step is one entry of a message's history on its live stream, and where the message stood when it was sent.
type Step struct {
	ID     message.ID       `json:"id"`
	State  string           `json:"state"`
	Status guarantee.Status `json:"status" enum:"running,waiting,parked,succeeded,failed"`
	Reason string           `json:"reason,omitempty"`
	Entry  guarantee.Entry  `json:"entry"`
}

type followInput struct {
	ID   string `path:"id" maxLength:"64"`
	Last int64  `header:"Last-Event-ID" minimum:"0" doc:"The version of the last entry received."`
}

func (s *Server) followMessage(ctx context.Context, in *followInput) (*huma.StreamResponse, error) {
	rec, _, err := s.message(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return s.following(ctx, func(ctx context.Context, st *stream) { s.follow(ctx, st, rec.ID, in.Last) })
}

// follow subscribes before it reads, so that no step falls in between.
func (s *Server) follow(ctx context.Context, st *stream, id message.ID, version int64) {
	live := s.Live.Subscribe(16, func(e event.Event) bool { return e.ID == id })
	defer live.Close()
	for s.allowed(ctx) {
		rec, entries, err := s.message(ctx, string(id))
		if err != nil {
			return
		}
		for _, e := range entries {
			if e.Version <= version {
				continue
			}
			if st.send(e.Version, "step", Step{ID: id, State: rec.State, Status: rec.Status, Reason: rec.Reason, Entry: e}) != nil {
				return
			}
		}
		version = max(version, rec.Version)
		if rec.Status.Terminal() {
			_ = st.send(version, "end", s.view(rec)) // it ends here either way
			return
		}
		if !s.moved(ctx, st, live, version) {
			return
		}
	}
}

// moved waits until the message is past the version, with signs of life. It says no when the stream has to end.
func (s *Server) moved(ctx context.Context, st *stream, live *event.Subscription, version int64) bool {
	beat := time.NewTicker(s.config.Heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case e, open := <-live.C:
			if !open || e.Version > version {
				return open
			}
		case <-beat.C:
			if st.beat() != nil || !s.allowed(ctx) {
				return false
			}
		}
	}
}

type followAllInput struct {
	Last int64 `header:"Last-Event-ID" minimum:"0" doc:"The id of the last event received."`
}

// Gap says that events were missed.
type Gap struct {
	After int64 `json:"after" doc:"The id asked for."`
	First int64 `json:"first" doc:"The oldest that is still held."`
}

// buffered is how many events a follower of everything may be behind before it is cut off, to come back with Last-Event-ID.
const buffered = 4096

func (s *Server) followAll(ctx context.Context, in *followAllInput) (*huma.StreamResponse, error) {
	return s.following(ctx, func(ctx context.Context, st *stream) {
		who := callerOf(ctx)
		mine := func(e event.Event) bool { return who.sees(e.Attributes.Client) }
		live := s.Live.Subscribe(buffered, mine)
		defer live.Close()
		after, err := s.catchUp(ctx, st, in.Last, mine)
		if err == nil && st.beat() == nil {
			s.stay(ctx, st, live, after)
		}
	})
}

// catchUp sends what has happened after seq up to now, and tells how far that is.
func (s *Server) catchUp(ctx context.Context, st *stream, seq int64, mine func(event.Event) bool) (int64, error) {
	first, last, err := s.Outbox.Bounds(ctx)
	if err != nil || seq == 0 || seq >= last {
		return max(seq, last), err
	}
	if first == 0 || first > seq+1 {
		if err := st.send(seq, "gap", Gap{After: seq, First: first}); err != nil {
			return seq, err
		}
	}
	for first != 0 && seq < last {
		events, err := s.Outbox.Read(ctx, seq, 500)
		if err != nil {
			return seq, err
		}
		for _, e := range events {
			seq = e.Seq
			if mine(e) && st.send(e.Seq, "message", viewOfSnapshot(e.Snapshot)) != nil {
				return seq, errors.New("the follower has left")
			}
		}
	}
	return seq, nil
}

// stay sends what happens until the stream has to end.
func (s *Server) stay(ctx context.Context, st *stream, live *event.Subscription, after int64) {
	beat := time.NewTicker(s.config.Heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case e, open := <-live.C:
			if !open || !s.allowed(ctx) {
				return
			}
			if e.Seq > after && st.send(e.Seq, "message", viewOfSnapshot(e.Snapshot)) != nil {
				return
			}
		case <-beat.C:
			if st.beat() != nil || !s.allowed(ctx) {
				return
			}
		}
	}
}
