package etcd

import (
	"context"
	"net/url"

	"github.com/avalhq/aval/internal/handshake"
	"github.com/avalhq/aval/internal/problem"
)

// atStart makes a cluster that is not there, or refuses its user, a mistake of the configuration: a process that cannot begin does not
// wait for it. When it is there and certificates are in the way, it says so: the client of etcd tells the two apart by text alone.
func (s *server) atStart(ctx context.Context, err error) error {
	missing := problem.From(err)
	switch missing.Code {
	case "etcd-unreachable":
	case "etcd-refused":
		return problem.New(problem.Invalid, missing.Code, "%w", err)
	default:
		return err
	}
	if refused := s.handshake(ctx); refused != nil {
		return problem.New(problem.Invalid, "etcd-certificate-refused", "etcd at %s is there, but TLS with it fails: %w; correct etcd.tls, or etcd.endpoints", s.where, refused)
	}
	return problem.New(problem.Invalid, missing.Code, "%w", err)
}

// handshake says why TLS with the first member fails, if that is what fails.
func (s *server) handshake(ctx context.Context) error {
	u, err := url.Parse(s.options.Endpoints[0])
	if err != nil || u.Scheme != "https" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return handshake.Failure(ctx, u.Host, s.options.TLS)
}
