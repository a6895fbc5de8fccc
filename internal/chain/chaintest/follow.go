package chaintest

import (
	"strings"
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

// a nonce that was used is traced to the transaction that used it, or to another one; one that was not used to none; where its block
// is known, and canonical, that is enough.
func traces(t *testing.T, s Subject) {
	from, to := s.Account(t, coin), s.Account(t, 0)
	s.confirmed(t, s.send(t, from, to.Address(), 1))
	hash := s.send(t, from, to.Address(), 2)
	mined := s.confirmed(t, hash)
	other := "0x" + strings.Repeat("0b", 32)
	trace := func(nonce uint64, seen chain.Sighting, hashes ...string) chain.Trace {
		t.Helper()
		found, err := s.Follower.Trace(t.Context(), chain.Use{Address: from.Address(), Nonce: nonce, Hashes: hashes, Seen: seen})
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if got := trace(1, chain.Sighting{}, other, hash); !got.Known || got.Hash != hash || !got.Ended || got.Status.Block != mined.Block || got.Status.Hash != mined.Hash || !got.Status.Success {
		t.Errorf("what used nonce 1 is told as %+v; it is %s, %+v", got, hash, mined)
	}
	if got := trace(1, chain.Sighting{}, other); !got.Known || got.Hash != "" {
		t.Errorf("what used nonce 1, and is none of ours, is told as %+v", got)
	}
	if got := trace(2, chain.Sighting{}, other); got.Known {
		t.Errorf("what used nonce 2, which nobody has, is told as %+v", got)
	}
	seen := chain.Sighting{Hash: other, Block: mined.Block, BlockHash: mined.Hash}
	if got := trace(1, seen, other); !got.Known || got.Hash != other || got.Ended || got.Status.Hash != mined.Hash || got.Status.State != chain.Mined {
		t.Errorf("what was seen in block %d is told as %+v", mined.Block, got)
	}
	if seen.BlockHash = other; trace(1, seen, other).Hash != "" {
		t.Error("what was seen in a block that is not there any more is told as if it were")
	}
	if got := trace(1, chain.Sighting{Hash: hash, Block: mined.Block}, hash); got.Hash != hash || got.Status.Block != mined.Block || got.Status.Hash != mined.Hash {
		t.Errorf("what somebody has seen in block %d is told as %+v", mined.Block, got)
	}
	if got := trace(1, chain.Sighting{Hash: other, Block: mined.Block}, other); got.Hash != "" {
		t.Errorf("what somebody has seen in block %d, which does not hold it, is told as %+v", mined.Block, got)
	}
	_, err := s.Follower.Trace(t.Context(), chain.Use{Address: from.Address(), Hashes: []string{"0x12"}})
	wants(t, err, "hash-invalid")
}
