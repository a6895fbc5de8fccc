package server

import (
	"context"
	"net/http"
	"time"

	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/problem"
)

func (s *Server) keyRoutes() {
	route(s, operation("list-keys", http.MethodGet, "/v1/keys", "keys", "List the signing keys and who is using them", byOperator), s.listKeys)
	reconcile := acting("reconcile-key", "/v1/keys/{id}/reconcile", "keys", "End a key's quarantine", byOperator)
	reconcile.Description = "Compares the key's next nonce with the chain's view. A chain that is ahead of the decisions means that the key is used elsewhere: it stays in quarantine (409)."
	route(s, reconcile, s.reconcile)
}

// Key is a signing key as the API shows it. Its private part is known to the key store alone.
type Key struct {
	ID       string     `json:"id"`
	Chain    string     `json:"chain"`
	Address  string     `json:"address"`
	Pool     string     `json:"pool,omitempty" doc:"Keys of one pool are interchangeable; absent for a wallet's own key."`
	Status   key.Status `json:"status" enum:"free,leased,quarantined"`
	Holder   string     `json:"holder,omitempty" doc:"Who is using it, or was when it failed."`
	Fence    uint64     `json:"fence" doc:"Number of its newest lease."`
	Nonce    uint64     `json:"nonce" doc:"The next one, as far as decided."`
	LastUsed *time.Time `json:"last_used,omitempty"`
	Reason   string     `json:"reason,omitempty" doc:"Why it is in quarantine."`
}

// KeyList is all keys.
type KeyList struct {
	Keys []Key `json:"keys" nullable:"false"`
}

func viewOfKey(k key.Key) Key {
	v := Key{
		ID: k.ID, Chain: k.Chain, Address: k.Address, Pool: k.Pool, Status: k.Status,
		Holder: k.Holder, Fence: k.Fence, Nonce: k.Nonce, Reason: k.Reason,
	}
	if !k.LastUsed.IsZero() {
		used := k.LastUsed.UTC()
		v.LastUsed = &used
	}
	return v
}

func (s *Server) listKeys(ctx context.Context, _ *struct{}) (*body[KeyList], error) {
	all, err := s.Keys.List(ctx)
	if err != nil {
		return nil, err
	}
	out := KeyList{Keys: make([]Key, len(all))}
	for i, k := range all {
		out.Keys[i] = viewOfKey(k)
	}
	return &body[KeyList]{Body: out}, nil
}

func (s *Server) reconcile(ctx context.Context, in *byID) (*body[Key], error) {
	k, err := s.Keys.Get(ctx, in.ID)
	if err != nil && problem.KindOf(err) == problem.NotFound {
		return nil, problem.New(problem.NotFound, "key-unknown", "there is no such key; GET /v1/keys lists them")
	}
	if err != nil {
		return nil, err
	}
	if k.Status != key.Quarantined {
		return nil, problem.New(problem.Conflict, "key-not-quarantined", "the key is not in quarantine, so there is nothing to reconcile")
	}
	if err := s.Keys.Release(ctx, k.ID); err != nil {
		return nil, err
	}
	if k, err = s.Keys.Get(ctx, k.ID); err != nil {
		return nil, err
	}
	return &body[Key]{Body: viewOfKey(k)}, nil
}
