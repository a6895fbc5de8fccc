package server

import (
	"context"

	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
)

func (s *Server) operatorRoutes() {
	route(s, acting("park-message", "/v1/messages/{id}/park", "operators", "Set a message aside, with a reason", byOperator), s.park)
	route(s, acting("resume-message", "/v1/messages/{id}/resume", "operators", "Let a parked message go on where it stands", byOperator), s.resume)
	route(s, acting("replay-message", "/v1/messages/{id}/replay", "operators", "Run the step that a parked message failed at again", byOperator), s.replay)
	route(s, acting("verify-reference", "/v1/reference/verify", "operators", "Compare the read model with Guarantee", byOperator), s.verify)
	route(s, acting("rebuild-reference", "/v1/reference/rebuild", "operators", "Mend the read model from Guarantee", byOperator), s.rebuild)
}

type parkInput struct {
	byID
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

func (s *Server) verify(ctx context.Context, _ *struct{}) (*body[any], error) {
	return s.mend(ctx, false)
}

func (s *Server) rebuild(ctx context.Context, _ *struct{}) (*body[any], error) {
	return s.mend(ctx, true)
}

func (s *Server) mend(ctx context.Context, repair bool) (*body[any], error) {
	report, err := s.Mend(ctx, repair)
	if err != nil {
		return nil, err
	}
	return &body[any]{Body: report}, nil
}
