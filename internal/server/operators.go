package server

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/reference"
)

func (s *Server) operatorRoutes() {
	route(s, acting("park-message", "/v1/messages/{id}/park", "operators", "Set a message aside, with a reason", byOperator), s.park)
	route(s, acting("resume-message", "/v1/messages/{id}/resume", "operators", "Let a parked message go on where it stands", byOperator), s.resume)
	route(s, acting("replay-message", "/v1/messages/{id}/replay", "operators", "Let a parked message begin its workflow again", byOperator), s.replay)
	route(s, unhurried(acting("verify-reference", "/v1/reference/verify", "operators", "Compare the read model with Guarantee", byOperator)), s.verify)
	route(s, unhurried(acting("rebuild-reference", "/v1/reference/rebuild", "operators", "Compare, and mend the read model where it differs", byOperator)), s.rebuild)
}

type parkInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body struct {
		Reason string `json:"reason" minLength:"1" maxLength:"500" doc:"A sentence for whoever finds it parked."`
	}
}

func (s *Server) park(ctx context.Context, in *parkInput) (*body[*Message], error) {
	return s.act(ctx, in.ID, func(id message.ID, by string) error { return s.Messages.Park(ctx, id, by, in.Body.Reason) })
}

func (s *Server) resume(ctx context.Context, in *byID) (*body[*Message], error) {
	return s.act(ctx, in.ID, func(id message.ID, by string) error { return s.Messages.Resume(ctx, id, by) })
}

func (s *Server) replay(ctx context.Context, in *byID) (*body[*Message], error) {
	return s.act(ctx, in.ID, func(id message.ID, by string) error { return s.Messages.Replay(ctx, id, by) })
}

// act answers with the message as it is after the act.
func (s *Server) act(ctx context.Context, text string, do func(id message.ID, by string) error) (*body[*Message], error) {
	id, err := message.ParseID(text)
	if err != nil {
		return nil, err
	}
	var rec guarantee.Record
	if err = do(id, callerOf(ctx).Subject); err == nil {
		rec, _, err = s.Messages.Get(ctx, id)
	}
	if err != nil {
		return nil, err
	}
	return &body[*Message]{Body: s.view(rec)}, nil
}

func (s *Server) verify(ctx context.Context, _ *struct{}) (*body[reference.Report], error) {
	return s.mend(ctx, false)
}

func (s *Server) rebuild(ctx context.Context, _ *struct{}) (*body[reference.Report], error) {
	return s.mend(ctx, true)
}

func (s *Server) mend(ctx context.Context, repair bool) (*body[reference.Report], error) {
	report, err := s.Mender.Verify(ctx, repair)
	if err != nil {
		return nil, err
	}
	return &body[reference.Report]{Body: report}, nil
}

// unhurried lets an answer come later than other requests may take: it reads everything that is stored.
func unhurried(op huma.Operation) huma.Operation {
	op.Middlewares = huma.Middlewares{func(hctx huma.Context, next func(huma.Context)) {
		_, w := humago.Unwrap(hctx)
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // a writer without deadlines has none to lift
		next(hctx)
	}}
	return op
}
