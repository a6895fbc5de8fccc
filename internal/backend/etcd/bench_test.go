//go:build cluster

package etcd_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// BenchmarkLeases is lease cycles, a lease and its release each, of many workers in one process: with keys enough for all, and
// with fewer, so that the workers wait for each other.
func BenchmarkLeases(b *testing.B) {
	for _, size := range [][2]int{{1, 1}, {16, 16}, {16, 4}, {64, 64}, {64, 16}, {256, 256}, {256, 64}} {
		workers, keys := size[0], size[1]
		b.Run(fmt.Sprintf("workers=%d/keys=%d", workers, keys), func(b *testing.B) {
			s := newStorage(b)
			k := s.open(b)
			addKeys(b, k, keys)
			each(b, workers, "cycles/s", func() error {
				l, err := k.Lease(b.Context(), anyKey(k))
				if err == nil {
					err = k.Release(b.Context(), l)
				}
				return err
			})
		})
	}
}

// BenchmarkServer is what a lease cannot do without, for comparison: a transaction that compares a revision and writes as many
// bytes, on a key of each worker's own. A cycle is two of them.
func BenchmarkServer(b *testing.B) {
	for _, workers := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) {
			s := newStorage(b)
			client, err := clientv3.New(clientv3.Config{Endpoints: s.options.Endpoints})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = client.Close() }()
			value := strings.Repeat("x", 220)
			names := make(chan int, workers)
			for i := range workers {
				names <- i
			}
			revisions := make([]int64, workers)
			each(b, workers, "transactions/s", func() error {
				i := <-names
				defer func() { names <- i }()
				name := fmt.Sprintf("%skeys/%d", s.options.Prefix, i)
				answer, err := client.Txn(b.Context()).If(clientv3.Compare(clientv3.ModRevision(name), "=", revisions[i])).
					Then(clientv3.OpPut(name, value)).Else(clientv3.OpGet(name)).Commit()
				if err == nil {
					revisions[i] = answer.Header.Revision
				}
				return err
			})
		})
	}
}

// each has the workers do b.N of one, one after the other each.
func each(b *testing.B, workers int, unit string, one func() error) {
	b.Helper()
	left := atomic.Int64{}
	left.Store(int64(b.N))
	done := make(chan error, workers)
	b.ReportAllocs()
	b.ResetTimer()
	for range workers {
		go func() {
			var err error
			for left.Add(-1) >= 0 && err == nil {
				err = one()
			}
			done <- err
		}()
	}
	for range workers {
		if err := <-done; err != nil {
			b.Error(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), unit)
}
