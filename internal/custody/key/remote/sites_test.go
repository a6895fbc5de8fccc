package remote_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"sync"
	"testing"

	"google.golang.org/grpc"

	"github.com/avalhq/aval/internal/custody/key/remote"
	"github.com/avalhq/aval/internal/custody/papers"
	"github.com/avalhq/aval/internal/fault"
)

// workers are the names that the holders in the suites begin with.
var workers = []string{"worker-1", "worker-2", "worker-10", "p1", "p2", "p9"}

// site is a key-manager with its storage. Each start is the next process: the one before has ended as in a crash.
type site struct {
	open   func(t testing.TB) remote.Registry // the next process on the same storage
	set    *papers.Set                        // nil speaks plain text
	faults *fault.Points

	address string
	lines   *lines
	server  *remote.Server
	grpc    *grpc.Server
	served  chan error
	last    *remote.Client
}

func newSite(t testing.TB, plain bool, open func(t testing.TB) remote.Registry) *site {
	t.Helper()
	s := &site{open: open, faults: fault.New()}
	if !plain {
		var err error
		if s.set, err = papers.New(); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { s.stop(t) })
	return s
}

// start begins the next key-manager.
func (s *site) start(t testing.TB) {
	t.Helper()
	s.stop(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address, s.served, s.lines = listener.Addr().String(), make(chan error, 1), &lines{Listener: listener}
	s.server = remote.NewServer(s.open(t), remote.Observer{}, nil)
	s.grpc = s.server.Transport(s.tls(t, "127.0.0.1"))
	go func(g *grpc.Server, served chan error, at net.Listener) { served <- g.Serve(at) }(s.grpc, s.served, s.lines)
}

// lines is the connections to a key-manager.
type lines struct {
	net.Listener
	mu   sync.Mutex
	open []net.Conn
}

// Accept keeps the connection in mind.
func (l *lines) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.open = append(l.open, c)
	}
	return c, err
}

// cut ends every connection there is.
func (l *lines) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.open {
		_ = c.Close() // it may be closed already
	}
	l.open = nil
}

func (s *site) stop(t testing.TB) {
	t.Helper()
	if s.server == nil {
		return
	}
	s.server.Stop()
	s.grpc.Stop()
	if err := <-s.served; err != nil {
		t.Error(err)
	}
	s.server = nil
	s.closeLast(t)
}

func (s *site) closeLast(t testing.TB) {
	t.Helper()
	if s.last != nil {
		if err := s.last.Close(); err != nil {
			t.Error(err)
		}
	}
	s.last = nil
}

// tls is what a process with these names shows and believes.
func (s *site) tls(t testing.TB, names ...string) *tls.Config {
	t.Helper()
	if s.set == nil {
		return nil
	}
	cert, secret, err := s.set.Issue(names...)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, secret)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.set.CA)
	return &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}
}

// worker is the only one at the next key-manager.
func (s *site) worker(t testing.TB) *remote.Client {
	t.Helper()
	s.start(t)
	s.last = s.beside(t, workers...)
	return s.last
}

// beside is one more worker, which the caller closes.
func (s *site) beside(t testing.TB, names ...string) *remote.Client {
	t.Helper()
	c, err := remote.Open(t.Context(), remote.Options{Address: s.address, TLS: s.tls(t, names...), Name: names[0], Faults: s.faults})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
