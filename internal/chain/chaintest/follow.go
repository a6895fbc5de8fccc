package chaintest

import (
	"testing"
	"time"

	"github.com/avalhq/aval/internal/chain"
)

// nonces grow by what is mined, for several addresses at once; heads are told as the chain grows.
func follows(t *testing.T, s Subject) {
	busy, idle := s.Account(t, coin), s.Account(t, 0)
	heads := s.Follower.Heads(t.Context())
	block := uint64(0)
	for _, want := range []uint64{0, 1, 2} {
		nonces, head, err := s.Follower.Nonces(t.Context(), []string{idle.Address(), busy.Address()})
		if err != nil || len(nonces) != 2 || nonces[0] != 0 || nonces[1] != want || head < block {
			t.Fatalf("the nonces are %v at block %d, %v; want 0 and %d, at block %d or later", nonces, head, err, want, block)
		}
		mined := s.confirmed(t, s.send(t, busy, idle.Address(), 0))
		if block = mined.Block; mined.Head < block {
			t.Fatalf("mined in block %d, says one at head %d", block, mined.Head)
		}
	}
	_, _, err := s.Follower.Nonces(t.Context(), []string{busy.Address(), "0x12"})
	wants(t, err, "address-invalid")
	if none, _, err := s.Follower.Nonces(t.Context(), nil); err != nil || len(none) != 0 {
		t.Errorf("nonces of nobody: %v, %v", none, err)
	}
	height, err := s.Follower.Height(t.Context(), chain.Latest)
	if err != nil || height < 3 {
		t.Errorf("the newest block is %d, %v", height, err)
	}
	deadline := time.After(20 * time.Second)
	for head := uint64(0); head < height; {
		select {
		case head = <-heads:
		case <-deadline:
			t.Fatalf("no head from %d on was told; the last was %d", height, head)
		}
	}
}
