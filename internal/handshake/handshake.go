// Package handshake finds out why TLS with another process fails. The clients of etcd and gRPC tell by text alone whether nobody is
// there or certificates are in the way, and an operator has to do something else about each.
package handshake

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"
)

// Failure connects to host:port once and says what is wrong with TLS; nil when that is in order or nobody listens there. It takes
// about a second when all is well, as a server tells what it thinks of the client's certificate in its first answer.
func Failure(ctx context.Context, address string, config *tls.Config) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil // it is not there: that is not about TLS
	}
	defer func() { _ = conn.Close() }()
	config = config.Clone()
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(address)
	}
	config.NextProtos = []string{"h2"}
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		return err
	}
	_ = secured.SetReadDeadline(time.Now().Add(time.Second))
	_, err = secured.Read(make([]byte, 1))
	var refused *net.OpError
	if errors.As(err, &refused) && refused.Op == "remote error" { // an alert of the other side
		return err
	}
	return nil
}
