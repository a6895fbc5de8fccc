package remote

import (
	"context"
	"crypto/tls"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/avalhq/aval/api/keymanager/v1"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/problem"
)

// Observer is told what happens; each function may be nil.
type Observer struct {
	Leased   func(outcome string, took time.Duration) // "granted", or the code of the refusal; took includes the wait
	Waiting  func(change int)                         // so many more, or less, wait for a key
	Sessions func(change int)
	SetAside func(keys int) // so many were set aside because their worker was gone
}

// Server serves a registry. With certificates, the holder of a lease has to be called as the certificate of the worker says: one
// of its DNS names, or its common name when it has none, alone or followed by a hyphen and what the worker likes.
type Server struct {
	pb.UnimplementedKeyManagerServiceServer
	registry Registry
	observe  Observer
	log      *slog.Logger

	mu       sync.Mutex
	held     map[string]held   // by key: leases of sessions that live
	failed   map[string]uint64 // by key: fences of leases whose sessions have ended, until they are set aside
	pending  map[string]int    // by holder: leases that may have been granted, and are not in held yet
	draining bool
	stopped  chan struct{} // closed by Stop
	idle     chan struct{} // closed when nothing is held or pending any more, while draining
}

// held is a lease of a session.
type held struct {
	key.Lease
	by *session
}

// NewServer makes a Server; register it with a grpc.Server by Register.
func NewServer(registry Registry, observe Observer, log *slog.Logger) *Server {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Server{registry: registry, observe: observe, log: log, held: map[string]held{}, failed: map[string]uint64{}, pending: map[string]int{}, idle: make(chan struct{}), stopped: make(chan struct{})}
}

// Transport makes a gRPC server that serves it. A worker that is cut off, or stopped, is noticed after silence, in about ten seconds.
// Without a configuration it speaks plain text.
func (s *Server) Transport(config *tls.Config) *grpc.Server {
	secured := insecure.NewCredentials()
	if config != nil {
		config = config.Clone()
		config.ClientAuth, config.ClientCAs, config.MinVersion = tls.RequireAndVerifyClientCert, config.RootCAs, tls.VersionTLS13
		secured = credentials.NewTLS(config)
	}
	g := grpc.NewServer(grpc.Creds(secured), grpc.KeepaliveParams(keepalive.ServerParameters{Time: silence, Timeout: silence}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: silence / 2, PermitWithoutStream: true}))
	pb.RegisterKeyManagerServiceServer(g, s)
	return g
}

// names is how the caller's certificate calls it; nil without a certificate, where the transport does not ask for one.
func names(ctx context.Context) []string {
	p, _ := peer.FromContext(ctx)
	if p == nil {
		return nil
	}
	secured, is := p.AuthInfo.(credentials.TLSInfo)
	if !is || len(secured.State.VerifiedChains) == 0 {
		return nil
	}
	leaf := secured.State.VerifiedChains[0][0]
	if len(leaf.DNSNames) > 0 {
		return leaf.DNSNames
	}
	return []string{leaf.Subject.CommonName}
}

// mayHold refuses a holder's name that is not the caller's.
func mayHold(names []string, holder string) error {
	process := key.Process(holder)
	if names == nil || holder == "" || slices.ContainsFunc(names, func(n string) bool { return process == n || strings.HasPrefix(process, n+"-") }) {
		return nil
	}
	return problem.New(problem.Forbidden, "key-holder-refused", "the certificate is that of %s, which cannot hold keys as %s", strings.Join(names, ", "), holder)
}

// AddKey registers a key.
func (s *Server) AddKey(ctx context.Context, r *pb.AddKeyRequest) (*pb.AddKeyResponse, error) {
	return &pb.AddKeyResponse{}, refused(s.registry.Add(ctx, fromProto(r.GetKey())))
}

// GetKey reads a key.
func (s *Server) GetKey(ctx context.Context, r *pb.GetKeyRequest) (*pb.GetKeyResponse, error) {
	k, err := s.registry.Get(ctx, r.GetId())
	return &pb.GetKeyResponse{Key: toProto(k)}, refused(err)
}

// ListKeys reads all keys.
func (s *Server) ListKeys(ctx context.Context, _ *pb.ListKeysRequest) (*pb.ListKeysResponse, error) {
	keys, err := s.registry.List(ctx)
	return &pb.ListKeysResponse{Keys: allToProto(keys)}, refused(err)
}

// SetAsideKeys quarantines what nobody works with. A caller can name what his own holders have: of others he knows nothing.
func (s *Server) SetAsideKeys(ctx context.Context, r *pb.SetAsideKeysRequest) (*pb.SetAsideKeysResponse, error) {
	named, mine := map[string]uint64{}, names(ctx)
	for _, one := range r.GetFailed() {
		named[one.GetId()] = one.GetFence()
	}
	keys, err := s.setAside(ctx, func(k key.Key) bool { return named[k.ID] == k.Fence && mayHold(mine, k.Holder) == nil })
	return &pb.SetAsideKeysResponse{Keys: allToProto(keys)}, refused(err)
}

// setAside quarantines what sessions that have ended held, and of the others what failed says.
func (s *Server) setAside(ctx context.Context, failed func(key.Key) bool) ([]key.Key, error) {
	keys, err := s.registry.Quarantine(ctx, func(k key.Key) bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		fence, ended := s.failed[k.ID]
		return (!ended || fence != k.Fence) && !failed(k) && (s.held[k.ID].Fence == k.Fence || s.pending[k.Holder] > 0)
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range keys {
		if s.held[k.ID].Fence == k.Fence {
			delete(s.held, k.ID)
		}
		if s.failed[k.ID] == k.Fence {
			delete(s.failed, k.ID)
		}
		s.log.WarnContext(ctx, "key set aside", "key", k.ID, "holder", k.Holder, "fence", k.Fence, "reason", k.Reason)
	}
	if s.observe.SetAside != nil {
		s.observe.SetAside(len(keys))
	}
	return keys, nil
}

// ReconcileKey compares a key with its chain.
func (s *Server) ReconcileKey(ctx context.Context, r *pb.ReconcileKeyRequest) (*pb.ReconcileKeyResponse, error) {
	return &pb.ReconcileKeyResponse{}, refused(s.registry.Reconcile(ctx, r.GetId(), r.GetChainNonce()))
}

// DistrustKey quarantines a key for an operator.
func (s *Server) DistrustKey(ctx context.Context, r *pb.DistrustKeyRequest) (*pb.DistrustKeyResponse, error) {
	return &pb.DistrustKeyResponse{}, refused(s.registry.Distrust(ctx, r.GetId(), r.GetBy(), r.GetWhy()))
}

// AcknowledgeKey lets it be used again.
func (s *Server) AcknowledgeKey(ctx context.Context, r *pb.AcknowledgeKeyRequest) (*pb.AcknowledgeKeyResponse, error) {
	return &pb.AcknowledgeKeyResponse{}, refused(s.registry.Acknowledge(ctx, r.GetId(), r.GetChainNonce(), r.GetBy(), r.GetWhy()))
}

// ListKeyEntries reads what was done about the trust in a key.
func (s *Server) ListKeyEntries(ctx context.Context, r *pb.ListKeyEntriesRequest) (*pb.ListKeyEntriesResponse, error) {
	entries, err := s.registry.Entries(ctx, r.GetId())
	out := &pb.ListKeyEntriesResponse{}
	for _, e := range entries {
		out.Entries = append(out.Entries, &pb.KeyEntry{What: e.What, By: e.By, Why: e.Why, Nonce: e.Nonce, At: timestamppb.New(e.At)})
	}
	return out, refused(err)
}

// Drain grants no more leases and waits until those that are held are given back, or ctx ends.
func (s *Server) Drain(ctx context.Context) {
	s.mu.Lock()
	s.draining = true
	s.settle()
	s.mu.Unlock()
	select {
	case <-s.idle:
	case <-ctx.Done():
	}
}

// Stop leaves to the next process what sessions that end from now on have left: it finds that this one is gone.
func (s *Server) Stop() { close(s.stopped) }

// settle tells Drain when there is nothing left. The caller holds mu.
func (s *Server) settle() {
	if !s.draining || len(s.held) > 0 || len(s.pending) > 0 {
		return
	}
	select {
	case <-s.idle:
	default:
		close(s.idle)
	}
}
