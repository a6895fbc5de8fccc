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
	acknowledge := acting("acknowledge-key", "/v1/keys/{id}/acknowledge", "keys", "Let a key be used again that somebody else has used", byOperator)
	acknowledge.Description = "For a key that the chain shows to be used by something else than Aval. The operator says how many of its nonces the chain has spent, and why that is all right; both are kept for ever. Another number than the chain's is refused (409)."
	route(s, acknowledge, s.acknowledge)
	route(s, operation("list-key-entries", http.MethodGet, "/v1/keys/{id}/entries", "keys", "List what was done about the trust in a key", byOperator), s.entries)
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
	if err != nil {
		return nil, unknownKey(err)
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

type acknowledgeInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body struct {
		Spent  uint64 `json:"spent" doc:"How many of the key's nonces the chain has spent."`
		Reason string `json:"reason" minLength:"1" maxLength:"500" doc:"What they were spent on, and why the key may be used again."`
	}
}

func (s *Server) acknowledge(ctx context.Context, in *acknowledgeInput) (*body[Key], error) {
	if err := s.Keys.Acknowledge(ctx, in.ID, in.Body.Spent, callerOf(ctx).Subject, in.Body.Reason); err != nil {
		return nil, unknownKey(err)
	}
	k, err := s.Keys.Get(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &body[Key]{Body: viewOfKey(k)}, nil
}

// KeyEntry is something that was done about the trust in a key.
type KeyEntry struct {
	What  string    `json:"what" enum:"distrusted,acknowledged"`
	By    string    `json:"by" doc:"Who did it: aval, or an operator."`
	Why   string    `json:"why"`
	Spent uint64    `json:"spent" doc:"How many nonces the chain had spent."`
	At    time.Time `json:"at"`
}

// KeyEntries is all of them, in order.
type KeyEntries struct {
	Entries []KeyEntry `json:"entries" nullable:"false"`
}

func (s *Server) entries(ctx context.Context, in *byID) (*body[KeyEntries], error) {
	all, err := s.Keys.Entries(ctx, in.ID)
	if err != nil {
		return nil, unknownKey(err)
	}
	out := KeyEntries{Entries: make([]KeyEntry, len(all))}
	for i, e := range all {
		out.Entries[i] = KeyEntry{What: e.What, By: e.By, Why: e.Why, Spent: e.Nonce, At: e.At.UTC()}
	}
	return &body[KeyEntries]{Body: out}, nil
}

// unknownKey says where the keys are.
func unknownKey(err error) error {
	if problem.KindOf(err) == problem.NotFound {
		return problem.New(problem.NotFound, "key-unknown", "there is no such key; GET /v1/keys lists them")
	}
	return err
}
