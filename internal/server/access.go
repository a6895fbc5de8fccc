package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/avalhq/aval/internal/auth"
	"github.com/avalhq/aval/internal/clients"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/telemetry"
)

// scheme is the security scheme's name in the OpenAPI document.
const scheme = "bearer"

// Who may call an operation, as OpenAPI security requirements: one of the alternatives has to hold.
var (
	byClient   = []map[string][]string{{scheme: {auth.Client}}}
	byOperator = []map[string][]string{{scheme: {auth.Operator}}}
	byEither   = []map[string][]string{{scheme: {auth.Client}}, {scheme: {auth.Operator}}}
	byHolder   = []map[string][]string{{scheme: {auth.Task}}, {scheme: {auth.Client}}, {scheme: {auth.Operator}}}
)

// caller is who a request comes from.
type caller struct {
	auth.Principal
	client   string // its id when it comes as a client
	operator bool
}

type callerKey struct{}

func callerOf(ctx context.Context) *caller {
	c, _ := ctx.Value(callerKey{}).(*caller)
	if c == nil {
		panic("server: an operation without security asks who calls") // a mistake in the registration, found by any test of it
	}
	return c
}

// sees says whether the caller may know of an object of that client.
func (c *caller) sees(client string) bool { return c.operator || c.client != "" && c.client == client }

// scope is the client whose objects the caller sees; "" is all of them.
func (c *caller) scope() string {
	if c.operator {
		return ""
	}
	return c.client
}

// authorize is the middleware that lets a request through to an operation that its token allows.
func (s *Server) authorize(hctx huma.Context, next func(huma.Context)) {
	security := hctx.Operation().Security
	if len(security) == 0 {
		next(hctx)
		return
	}
	ctx := hctx.Context()
	c, err := s.identify(ctx, hctx.Header("Authorization"))
	if err == nil && !permitted(c, security) {
		err = problem.New(problem.Forbidden, "scope-missing", "the token does not have the scope that this operation needs; the OpenAPI document tells which")
	}
	if err != nil {
		_, w := humago.Unwrap(hctx)
		s.refuse(ctx, w, err)
		return
	}
	ctx = context.WithValue(ctx, callerKey{}, c)
	if id, err := message.ParseID(hctx.Param("id")); err == nil {
		ctx = telemetry.WithMessage(ctx, id) // every line that is logged below has it
	}
	next(huma.WithContext(hctx, ctx))
}

// refuse writes a problem outside of an operation.
func (s *Server) refuse(ctx context.Context, w http.ResponseWriter, err error) {
	p := s.problem(ctx, err)
	for name, values := range p.GetHeaders() {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) //nolint:errchkjson // the caller has gone: nobody is left to tell
}

func (s *Server) identify(ctx context.Context, header string) (*caller, error) {
	const prefix = "bearer "
	if len(header) < len(prefix) || !strings.EqualFold(header[:len(prefix)], prefix) {
		return nil, auth.ErrToken
	}
	p, err := s.Tokens.Verify(ctx, header[len(prefix):])
	if err != nil {
		return nil, err
	}
	c := &caller{Principal: p, operator: p.Has(auth.Operator)}
	if p.Has(auth.Client) {
		if err := s.active(ctx, p.Subject); err != nil {
			return nil, err
		}
		c.client = p.Subject
	}
	return c, nil
}

// active asks the register whether the client may still do anything (A22).
func (s *Server) active(ctx context.Context, id string) error {
	client, err := s.Clients.Get(ctx, id)
	if errors.Is(err, clients.ErrUnknown) {
		return problem.New(problem.Forbidden, "client-unregistered", "the token's subject is not a registered client; an operator has to register it")
	}
	if err == nil && client.Disabled {
		return problem.New(problem.Forbidden, "client-disabled", "this client has been disabled; ask the operator")
	}
	return err
}

func permitted(c *caller, security []map[string][]string) bool {
	for _, alternative := range security {
		for _, scope := range alternative[scheme] {
			if scope == auth.Client && c.client != "" || scope == auth.Operator && c.operator || scope == auth.Task && c.Has(auth.Task) {
				return true
			}
		}
	}
	return false
}

// message reads a message that the caller may see. Another client's is as unknown as one that never was (A7, A21).
func (s *Server) message(ctx context.Context, text string) (guarantee.Record, []guarantee.Entry, error) {
	id, err := message.ParseID(text)
	if err != nil {
		return guarantee.Record{}, nil, err
	}
	rec, entries, err := s.Messages.Get(ctx, id)
	if err == nil && !callerOf(ctx).sees(rec.Client) {
		return guarantee.Record{}, nil, guarantee.ErrUnknown
	}
	if errors.Is(err, guarantee.ErrUnknown) {
		err = guarantee.ErrUnknown // without what the store may add of it
	}
	return rec, entries, err
}
