//go:build cluster

package trial

import (
	"context"
	"crypto/rand"
	"fmt"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/avalhq/aval/test/e2e/stage"
)

// Secured is an etcd that speaks TLS to clients with a certificate, and knows users.
type Secured struct {
	*stage.Server
	Papers *stage.Papers
	Root   *clientv3.Client // may do everything
}

// NewSecured starts one. A login is good for so many seconds.
func NewSecured(tb testing.TB, seconds int) *Secured {
	tb.Helper()
	e := &Secured{Papers: stage.NewPapers(tb)}
	e.Papers.Issue(tb, "root")
	e.Server = stage.NewServer(tb, "etcd", "ETCD_SECURED="+e.Papers.Folder, fmt.Sprintf("ETCD_TOKENS=%d", seconds))
	var err error
	// The certificate's name is the user's: etcd takes it where there is no login.
	if e.Root, err = clientv3.New(clientv3.Config{Endpoints: []string{e.URL(tb)}, TLS: e.Papers.TLS(tb, "ca.pem", "root")}); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = e.Root.Close() })
	e.do(tb, func(ctx context.Context) error { _, err := e.Root.UserAdd(ctx, "root", rand.Text()); return err })
	e.do(tb, func(ctx context.Context) error { _, err := e.Root.UserGrantRole(ctx, "root", "root"); return err })
	e.do(tb, func(ctx context.Context) error { _, err := e.Root.AuthEnable(ctx); return err })
	return e
}

// Know adds a user that may read and write below the prefix.
func (e *Secured) Know(tb testing.TB, user, password, prefix string) {
	tb.Helper()
	e.do(tb, func(ctx context.Context) error { _, err := e.Root.RoleAdd(ctx, user); return err })
	e.do(tb, func(ctx context.Context) error {
		_, err := e.Root.RoleGrantPermission(ctx, user, prefix, clientv3.GetPrefixRangeEnd(prefix), clientv3.PermissionType(clientv3.PermReadWrite))
		return err
	})
	e.do(tb, func(ctx context.Context) error { _, err := e.Root.UserAdd(ctx, user, password); return err })
	e.do(tb, func(ctx context.Context) error { _, err := e.Root.UserGrantRole(ctx, user, user); return err })
}

func (e *Secured) do(tb testing.TB, change func(context.Context) error) {
	tb.Helper()
	if err := change(tb.Context()); err != nil {
		tb.Fatal(err)
	}
}
