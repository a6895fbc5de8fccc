package signer_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/avalhq/aval/internal/custody/key"
)

// BenchmarkSign is 16 keys at once, 32 transactions a batch: lease, decide, sign, store, release, all durable. The unit is
// one signature.
func BenchmarkSign(b *testing.B) {
	const size = 32
	r := newRoom(b)
	keys := make([]key.Key, 16)
	for i := range keys {
		keys[i] = r.key(b)
	}
	b.ResetTimer()
	var wg sync.WaitGroup
	for i, k := range keys {
		wg.Go(func() {
			for n := i * size; n < b.N; n += len(keys) * size {
				_, errs := r.signer.Sign(b.Context(), k.ID, requests(k, min(size, b.N-n)))
				if err := errors.Join(errs...); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
