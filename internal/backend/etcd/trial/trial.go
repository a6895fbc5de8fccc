//go:build cluster

// Package trial gives each test a registry of its own on the real etcd that `make services-up` has started.
//
// A missing server fails the test: nothing is skipped.
package trial

import (
	"context"
	"crypto/rand"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/avalhq/aval/test/e2e/stage"
)

// Variable names the environment variable with the URL of a server that make services-up did not start. The test reads it.
const Variable = "AVAL_TEST_ETCD"

// Endpoint is the server: the given one, or the one that make services-up has left in .services.
func Endpoint(t testing.TB, given string) string {
	t.Helper()
	return stage.Shared(t, "etcd", given, Variable)
}

// Prefix is one of the test's own; what is below it is removed when the test has ended.
func Prefix(t testing.TB, endpoint string) string {
	t.Helper()
	prefix := "/aval-test/" + rand.Text() + "/"
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second) // the test's own has ended
		defer cancel()
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}})
		if err != nil {
			t.Fatalf("connect to etcd at %s: %v; run make services-up", endpoint, err)
		}
		defer func() { _ = client.Close() }()
		if _, err := client.Delete(ctx, prefix, clientv3.WithPrefix()); err != nil {
			t.Fatalf("clean up in etcd at %s: %v; run make services-up", endpoint, err)
		}
	})
	return prefix
}
