package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/mod/semver"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/problem"
)

const (
	oldest   = "v3.6.9"        // older servers can give stale reads
	patience = 5 * time.Second // how long one request to etcd may take
	pause    = 200 * time.Millisecond
)

// Options of Keys.
type Options struct {
	Endpoints []string      // "http://127.0.0.1:2379"
	TLS       *tls.Config   // for endpoints that begin with https
	User      string        // "" for an etcd that knows no users
	Password  string        // of the user
	Prefix    string        // of everything in etcd; "" means "/aval/". One registry has one prefix
	Owner     Owner         // whom the prefix belongs to for good; nil asks for nobody
	Mirror    key.Mirror    // the table of decisions, where it is in another database; nil when nothing is decided with the keys
	Name      string        // of this process, for operators; the instance's number is added to it
	Session   time.Duration // how long the process may be silent before its keys are set aside; 0 means 5 s, at least 2 s
	Faults    *fault.Points // for tests; nil in production
}

// Owner names whom the prefix belongs to. It is told whom it belongs to already, "" for nobody, and commits to a name of its own only
// where that is nobody: who is refused has changed nothing.
type Owner func(ctx context.Context, found string) (name string, err error)

// server is the connection to the cluster.
type server struct {
	options Options
	client  *clientv3.Client
	where   string // the endpoints, for messages
	writes  chan *write

	keys, addresses, instances, entries string // prefixes
	owner                               string // the name of the key that holds Options.Owner
}

// connect checks that a server answers that is new enough.
func connect(ctx context.Context, options Options) (*server, error) {
	if options.Prefix == "" {
		options.Prefix = "/aval/"
	}
	if options.Session == 0 {
		options.Session = 5 * time.Second
	}
	p := options.Prefix
	s := &server{options: options, writes: make(chan *write, together), where: strings.Join(options.Endpoints, ", "), keys: p + "keys/", addresses: p + "addresses/", instances: p + "instances/", entries: p + "entries/", owner: p + "owner"}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: options.Endpoints, TLS: options.TLS, Username: options.User, Password: options.Password, DialTimeout: patience, Logger: zap.NewNop(), // what goes wrong is told by the errors
		DialKeepAliveTime: patience, DialKeepAliveTimeout: patience,
	})
	if err != nil {
		return nil, s.atStart(ctx, s.unmade(err))
	}
	s.client = client
	if err = s.check(ctx); err == nil {
		err = s.own(ctx)
	}
	if err != nil {
		_ = client.Close()
		return nil, s.atStart(ctx, err)
	}
	return s, nil
}

func (s *server) check(ctx context.Context) error {
	var answer *clientv3.StatusResponse
	err := s.call(ctx, func(ctx context.Context) (err error) {
		answer, err = s.client.Status(ctx, s.options.Endpoints[0])
		return err
	})
	if err == nil && semver.Compare("v"+answer.Version, oldest) < 0 {
		err = problem.New(problem.Invalid, "etcd-too-old", "etcd at %s is version %s, whose reads can be stale; install %s or newer", s.where, answer.Version, oldest[1:])
	}
	return err
}

// own marks the prefix as the owner's, and refuses it when it is somebody else's.
func (s *server) own(ctx context.Context) error {
	if s.options.Owner == nil {
		return nil
	}
	found, err := s.claimed(ctx, "")
	if err != nil {
		return err
	}
	name, err := s.options.Owner(ctx, found)
	if err == nil && found == "" {
		found, err = s.claimed(ctx, name)
	}
	if err == nil && found != name {
		err = problem.New(problem.Invalid, "etcd-of-another-cluster", "what is below %s in etcd at %s belongs to another database; set etcd.prefix to one of this cluster's own", s.options.Prefix, s.where)
	}
	return err
}

// claimed gives the prefix to an owner, unless it has one, and says whose it is then. Without a name it looks.
func (s *server) claimed(ctx context.Context, name string) (owner string, err error) {
	var claim []clientv3.Op
	if name != "" {
		claim = append(claim, clientv3.OpPut(s.owner, name))
	}
	err = s.call(ctx, func(ctx context.Context) error {
		answer, err := s.client.Txn(ctx).If(absent(s.owner)).Then(claim...).Else(clientv3.OpGet(s.owner)).Commit()
		switch {
		case err != nil:
		case answer.Succeeded:
			owner = name
		default:
			owner = string(answer.Responses[0].GetResponseRange().Kvs[0].Value)
		}
		return err
	})
	return owner, err
}

// Ping asks the cluster for a linearizable read, for readiness.
func (s *server) Ping(ctx context.Context) error {
	return s.call(ctx, func(ctx context.Context) error {
		_, err := s.client.Get(ctx, s.instances, clientv3.WithCountOnly())
		return err
	})
}

// call bounds a request in time, and describes its error.
func (s *server) call(ctx context.Context, request func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := request(bounded)
	if err != nil && ctx.Err() == nil && bounded.Err() != nil {
		return s.unreachable()
	}
	if ended := ctx.Err(); err != nil && ended != nil {
		return ended
	}
	return s.describe(err)
}

// update strikes the fault points around a durable write. A caller who gives up does not cut a write off in the middle: that
// would leave its outcome unknown, and the key set aside.
func (s *server) update(ctx context.Context, name string, write func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.strike(name + ".before"); err != nil {
		return err
	}
	if err := s.call(context.WithoutCancel(ctx), write); err != nil {
		return err
	}
	return s.strike(name + ".after")
}

func (s *server) strike(point string) error {
	if err := s.options.Faults.Hit(point); err != nil {
		return problem.New(problem.Unavailable, "storage-failed", "write to etcd at %s: %w", s.where, err)
	}
	return nil
}

func (s *server) unreachable() error {
	return problem.New(problem.Unavailable, "etcd-unreachable", "etcd at %s cannot be reached, or has no leader; start it, or correct its endpoints", s.where)
}

// describe turns what the client says into a sentence for the person who must act. Refusals and ended contexts pass.
func (s *server) describe(err error) error {
	var refusal *problem.Error
	switch {
	case err == nil, errors.As(err, &refusal), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, rpctypes.ErrNoSpace):
		return problem.New(problem.Unavailable, "storage-full", "the space that etcd at %s may use is full; compact and defragment it, then disarm its alarm; nothing accepted is lost", s.where)
	case errors.Is(err, rpctypes.ErrAuthFailed), errors.Is(err, rpctypes.ErrUserEmpty):
		return problem.New(problem.Unavailable, "etcd-refused", "etcd at %s refuses the login of the user %q: %w; correct etcd.user and etcd.password", s.where, s.options.User, err)
	case errors.Is(err, rpctypes.ErrPermissionDenied):
		return problem.New(problem.Unavailable, "etcd-refused", "etcd at %s does not let Aval's user do this: %w; give it the right to read and write below %s, or correct etcd.user", s.where, err, s.options.Prefix)
	case unavailable(err):
		return s.unreachable()
	}
	return problem.New(problem.Unavailable, "storage-failed", "use etcd at %s: %w", s.where, err)
}

// unmade is why there is no client. With a user, making one logs in.
func (s *server) unmade(err error) error {
	var answered rpctypes.EtcdError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return s.unreachable()
	case errors.As(err, &answered), unavailable(err):
		return s.describe(err)
	}
	return problem.New(problem.Invalid, "etcd-endpoints-invalid", "the etcd endpoints %q cannot be used: %w; write http://host:port for each", s.where, err)
}

// unavailable covers what etcd says itself and what gRPC says for it.
func unavailable(err error) bool {
	var answered rpctypes.EtcdError
	if errors.As(err, &answered) {
		return answered.Code() == codes.Unavailable
	}
	return status.Code(err) == codes.Unavailable
}

// absent compares that a key of etcd does not exist, and present that it does.
func absent(name string) clientv3.Cmp { return clientv3.Compare(clientv3.CreateRevision(name), "=", 0) }
func present(name string) clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(name), ">", 0)
}
