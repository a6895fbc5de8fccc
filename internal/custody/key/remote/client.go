package remote

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/types/known/durationpb"

	pb "github.com/avalhq/aval/api/keymanager/v1"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/key/line"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/handshake"
	"github.com/avalhq/aval/internal/problem"
)

// Options of a Client.
type Options struct {
	Address string        // host:port
	TLS     *tls.Config   // with the worker's certificate; nil speaks plain text
	Name    string        // of the worker, as its certificate has it
	Faults  *fault.Points // for tests; nil in production
}

// Client serves key.Registry and key.Trust from a key-manager. It is safe for concurrent use. Close it before the process ends.
type Client struct {
	options Options
	process string
	conn    *grpc.ClientConn
	rpc     pb.KeyManagerServiceClient

	opening sync.Mutex // held while a session is begun
	mu      sync.Mutex
	link    *link              // the present session; nil before the first
	leases  map[string]key.Key // by key: what was leased here and not given back, as far as known
	lost    []*pb.HeldKey      // leases that were reported as failed: nobody works with them
}

// Open connects to a key-manager and begins a session.
func Open(ctx context.Context, options Options) (*Client, error) {
	secured := insecure.NewCredentials()
	if options.TLS != nil {
		secured = credentials.NewTLS(options.TLS)
	}
	conn, err := grpc.NewClient("passthrough:///"+options.Address, grpc.WithTransportCredentials(secured), grpc.WithConnectParams(redial),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: silence, Timeout: silence, PermitWithoutStream: true}))
	if err != nil {
		return nil, problem.New(problem.Invalid, "key-manager-unreachable", "the address %s of the key-manager cannot be used: %w; correct key_manager.address", options.Address, err)
	}
	c := &Client{options: options, process: options.Name + "-" + strings.ToLower(rand.Text()[:8]), conn: conn, rpc: pb.NewKeyManagerServiceClient(conn), leases: map[string]key.Key{}}
	if _, err := c.session(ctx); err != nil {
		_ = conn.Close()
		return nil, c.atStart(ctx, err)
	}
	return c, nil
}

// atStart makes a key-manager that is not there a mistake of the configuration, and tells when certificates are in the way.
func (c *Client) atStart(ctx context.Context, err error) error {
	if problem.From(err).Code != "key-manager-unreachable" {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if c.options.TLS != nil {
		if why := handshake.Failure(ctx, c.options.Address, c.options.TLS); why != nil {
			return problem.New(problem.Invalid, "key-manager-certificate-refused", "the key-manager at %s is there, but TLS with it fails: %w; correct key_manager.tls, or key_manager.address", c.options.Address, why)
		}
	}
	return problem.New(problem.Invalid, "key-manager-unreachable", "%w", err)
}

// Process names this process as the holder of leases. It does not change while it runs.
func (c *Client) Process() string { return c.process }

// Ping asks whether the key-manager answers, for readiness.
func (c *Client) Ping(ctx context.Context) error {
	_, err := c.session(ctx)
	return err
}

// Close ends the session; what it still holds is set aside when Close returns, if the key-manager is there.
func (c *Client) Close() error {
	c.mu.Lock()
	l := c.link
	c.mu.Unlock()
	if l != nil {
		l.close()
	}
	return c.conn.Close()
}

// session is the present session, or a new one when that has broken.
func (c *Client) session(ctx context.Context) (*link, error) {
	if l := c.present(); l != nil {
		return l, nil
	}
	c.opening.Lock()
	defer c.opening.Unlock()
	if l := c.present(); l != nil {
		return l, nil
	}
	l, err := c.dial(ctx)
	if err != nil {
		return nil, c.failure(ctx, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.link = l
	return l, nil
}

func (c *Client) present() *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.link == nil || c.link.over() {
		return nil
	}
	return c.link
}

// strike surrounds a durable write with its fault points.
func (c *Client) strike(name string, write func() error) error {
	if err := c.hit(name + ".before"); err != nil {
		return err
	}
	if err := write(); err != nil {
		return err
	}
	return c.hit(name + ".after")
}

func (c *Client) hit(point string) error {
	if err := c.options.Faults.Hit(point); err != nil {
		return problem.New(problem.Unavailable, "key-manager-unreachable", "ask the key-manager at %s: %w", c.options.Address, err)
	}
	return nil
}

// Lease takes a key. It waits at the key-manager; when ctx ends first it gives up, and what it may get all the same is given back before it
// returns, if the key-manager answers.
func (c *Client) Lease(ctx context.Context, r key.Request) (granted key.Lease, err error) {
	if r.Holder == "" || r.TTL <= 0 {
		return granted, key.ErrInvalid
	}
	err = c.strike("keys.lease", func() error {
		expires := time.Now().Add(r.TTL)
		l, err := c.session(ctx)
		if err == nil {
			err = c.report(ctx)
		}
		if err != nil {
			return line.OutOfTime(ctx, r, err)
		}
		call := &pb.LeaseCall{Holder: r.Holder, Key: r.Key, Chain: r.Chain, Pool: r.Pool, Ttl: durationpb.New(r.TTL)}
		answer, err := l.ask(ctx, &pb.Call{What: &pb.Call_Lease{Lease: call}})
		if err != nil {
			return line.OutOfTime(ctx, r, err)
		}
		k := fromProto(answer.GetKey())
		granted = key.Lease{Key: k, Holder: r.Holder, Fence: k.Fence, Expires: expires}
		return nil
	})
	if granted.Fence == 0 {
		return granted, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.lost = append(c.lost, &pb.HeldKey{Id: granted.Key.ID, Fence: granted.Fence})
		return key.Lease{}, err
	}
	c.leases[granted.Key.ID] = granted.Key
	return granted, nil
}

// report has those leases set aside that were reported as failed, so that nobody waits for their end.
func (c *Client) report(ctx context.Context) error {
	c.mu.Lock()
	lost := c.lost
	c.lost = nil
	c.mu.Unlock()
	if len(lost) == 0 {
		return nil
	}
	_, err := c.setAside(ctx, lost)
	if err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.lost = append(c.lost, lost...)
	}
	return err
}

// Release gives a lease back.
func (c *Client) Release(ctx context.Context, l key.Lease) error {
	return c.strike("keys.release", func() error {
		in, err := c.session(ctx)
		if err != nil {
			return err
		}
		_, err = in.ask(ctx, &pb.Call{What: &pb.Call_Release{Release: &pb.ReleaseCall{Key: l.Key.ID, Holder: l.Holder, Fence: l.Fence}}})
		if err == nil || errors.Is(err, key.ErrStale) {
			c.forget(l.Key.ID, l.Fence, l.Holder)
		}
		return err
	})
}

// forget drops a lease, unless somebody named it who does not hold it.
func (c *Client) forget(id string, fence uint64, holder string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.leases[id]; k.Fence == fence && k.Holder == holder {
		delete(c.leases, id)
	}
}

// Add registers a key.
func (c *Client) Add(ctx context.Context, k key.Key) error {
	return c.strike("keys.add", func() error { return ask(ctx, c, c.rpc.AddKey, &pb.AddKeyRequest{Key: toProto(k)}, nil) })
}

// Quarantine names to the key-manager what this process has leased and nobody works with; what others do it knows itself.
func (c *Client) Quarantine(ctx context.Context, lives func(key.Key) bool) (aside []key.Key, err error) {
	err = c.strike("keys.quarantine", func() error {
		c.mu.Lock()
		failed := c.lost
		c.lost = nil
		for id, k := range c.leases {
			if !lives(k) {
				failed = append(failed, &pb.HeldKey{Id: id, Fence: k.Fence})
			}
		}
		c.mu.Unlock()
		aside, err = c.setAside(ctx, failed)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, k := range aside {
		c.forget(k.ID, k.Fence, k.Holder)
	}
	return aside, nil
}

func (c *Client) setAside(ctx context.Context, failed []*pb.HeldKey) (aside []key.Key, err error) {
	err = ask(ctx, c, c.rpc.SetAsideKeys, &pb.SetAsideKeysRequest{Failed: failed}, func(r *pb.SetAsideKeysResponse) { aside = allFromProto(r.GetKeys()) })
	return aside, err
}

// Reconcile compares with the chain.
func (c *Client) Reconcile(ctx context.Context, id string, chainNonce uint64) error {
	return c.strike("keys.reconcile", func() error {
		return ask(ctx, c, c.rpc.ReconcileKey, &pb.ReconcileKeyRequest{Id: id, ChainNonce: chainNonce}, nil)
	})
}

// Get reads one key.
func (c *Client) Get(ctx context.Context, id string) (k key.Key, err error) {
	err = ask(ctx, c, c.rpc.GetKey, &pb.GetKeyRequest{Id: id}, func(r *pb.GetKeyResponse) { k = fromProto(r.GetKey()) })
	return k, err
}

// List reads all keys.
func (c *Client) List(ctx context.Context) (keys []key.Key, err error) {
	err = ask(ctx, c, c.rpc.ListKeys, &pb.ListKeysRequest{}, func(r *pb.ListKeysResponse) { keys = allFromProto(r.GetKeys()) })
	return keys, err
}

// Distrust quarantines a key for an operator.
func (c *Client) Distrust(ctx context.Context, id, by, why string) error {
	return c.strike("keys.distrust", func() error {
		return ask(ctx, c, c.rpc.DistrustKey, &pb.DistrustKeyRequest{Id: id, By: by, Why: why}, nil)
	})
}

// Acknowledge lets a key be used again.
func (c *Client) Acknowledge(ctx context.Context, id string, chainNonce uint64, by, why string) error {
	return c.strike("keys.acknowledge", func() error {
		return ask(ctx, c, c.rpc.AcknowledgeKey, &pb.AcknowledgeKeyRequest{Id: id, ChainNonce: chainNonce, By: by, Why: why}, nil)
	})
}

// Entries reads what was done about the trust in a key.
func (c *Client) Entries(ctx context.Context, id string) (list []key.Entry, err error) {
	err = ask(ctx, c, c.rpc.ListKeyEntries, &pb.ListKeyEntriesRequest{Id: id}, func(r *pb.ListKeyEntriesResponse) {
		for _, e := range r.GetEntries() {
			list = append(list, key.Entry{What: e.GetWhat(), By: e.GetBy(), Why: e.GetWhy(), Nonce: e.GetNonce(), At: e.GetAt().AsTime().Local()})
		}
	})
	return list, err
}

// ask makes one call outside of the session, bounded in time.
func ask[Q, A any](ctx context.Context, c *Client, rpc func(context.Context, *Q, ...grpc.CallOption) (*A, error), request *Q, take func(*A)) error {
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err := rpc(bounded, request)
	if err != nil {
		if ended := ctx.Err(); ended != nil && errors.Is(ended, context.DeadlineExceeded) {
			return ended
		}
		return c.failure(ctx, err)
	}
	if take != nil {
		take(answer)
	}
	return nil
}
