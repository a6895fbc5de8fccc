package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"time"

	"github.com/avalhq/aval/internal/problem"
)

// atStart makes a cluster that is not there a mistake of the configuration: a process that cannot begin does not wait for it. When
// it is there and certificates are in the way, it says so: the client of etcd tells the two apart by text alone.
func (s *server) atStart(ctx context.Context, err error) error {
	missing := problem.From(err)
	if missing.Code != "etcd-unreachable" {
		return err
	}
	if refused := s.handshake(ctx); refused != nil {
		return problem.New(problem.Invalid, "etcd-certificate-refused", "etcd at %s is there, but TLS with it fails: %w; correct etcd.tls, or etcd.endpoints", s.where, refused)
	}
	return problem.New(problem.Invalid, missing.Code, "%w", err)
}

// handshake says why TLS with the first member fails, if that is what fails. A server tells what it thinks of the client's
// certificate in its first answer.
func (s *server) handshake(ctx context.Context) error {
	u, err := url.Parse(s.options.Endpoints[0])
	if err != nil || u.Scheme != "https" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return nil // it is not there
	}
	defer func() { _ = conn.Close() }()
	config := s.options.TLS.Clone()
	config.ServerName = u.Hostname()
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return err
	}
	_ = secured.SetReadDeadline(time.Now().Add(time.Second))
	_, err = secured.Read(make([]byte, 1))
	var theirs tls.AlertError
	if errors.As(err, &theirs) {
		return err
	}
	return nil
}
