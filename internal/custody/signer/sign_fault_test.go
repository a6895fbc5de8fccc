package signer_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/fault"
)

// TestI7SignsOnlyWhatIsCommitted looks, at the moment of each signature, whether its decision can be read back.
func TestI7SignsOnlyWhatIsCommitted(t *testing.T) {
	r := newRoom(t)
	k := r.key(t)
	rs := requests(k, 10)
	r.keys.look = func(id string) {
		found, err := r.decisions.Find(t.Context(), steps(rs))
		if err != nil || len(found) != len(rs) || id != k.ID {
			t.Errorf("signing with %s while %d of %d decisions are committed (%v)", id, len(found), len(rs), err)
		}
	}
	r.sign(t, k, rs)
	if r.keys.signatures() != len(rs) {
		t.Errorf("%d signatures for %d requests", r.keys.signatures(), len(rs))
	}
}

// TestI7NoDecisionNoSignature: when the decision's commit fails, nothing is signed.
func TestI7NoDecisionNoSignature(t *testing.T) {
	r := newRoom(t)
	k := r.key(t)
	rs := requests(k, 3)
	r.faults.Arm("decisions.decide.before", fault.Fail, 1)
	decisions, errs := r.signer.Sign(t.Context(), k.ID, rs)
	for i, err := range errs {
		if !errors.Is(err, fault.ErrInjected) || len(decisions[i].Signed.Raw) != 0 {
			t.Errorf("request %d: %+v, %v; want the injected fault", i, decisions[i], err)
		}
	}
	if r.keys.signatures() != 0 {
		t.Errorf("%d signatures without a decision", r.keys.signatures())
	}
	checkAll(t, r, k, rs)
}

// checkAll signs again and checks that the requests have the consecutive nonces from 0, and that once more changes nothing.
func checkAll(t *testing.T, r *room, k key.Key, rs []signer.Request) {
	t.Helper()
	first := r.sign(t, k, rs)
	made := r.keys.signatures()
	again := r.sign(t, k, rs)
	for i, d := range first {
		if d.Nonce != uint64(i) || decode(t, d).Nonce() != uint64(i) {
			t.Errorf("request %d has nonce %d", i, d.Nonce)
		}
		if again[i].Signed.Hash != d.Signed.Hash || string(again[i].Signed.Raw) != string(d.Signed.Raw) {
			t.Errorf("request %d was answered with other bytes the second time", i)
		}
	}
	if r.keys.signatures() != made {
		t.Errorf("%d signatures were made for what was signed already", r.keys.signatures()-made)
	}
	got, err := r.registry.Get(t.Context(), k.ID)
	if err != nil || got.Nonce != uint64(len(rs)) || got.Status != key.Free {
		t.Errorf("the key is left as %+v, %v", got, err)
	}
}

// TestEachFaultThenAgain strikes at every point that signing passes, with and without a restart. What is answered is
// signed and stored; asked again, everything has its nonce and its bytes, without a gap.
func TestEachFaultThenAgain(t *testing.T) {
	points := []string{"keys.lease", "keys.reconcile", "decisions.decide", "signer.sign", "decisions.store", "keys.release"}
	for _, point := range points {
		for _, side := range []string{".before", ".after"} {
			for _, restart := range []bool{false, true} {
				t.Run(fmt.Sprint(point, side, " restart ", restart), func(t *testing.T) { struck(t, point+side, restart) })
			}
		}
	}
}

func struck(t *testing.T, point string, restart bool) {
	r := newRoom(t)
	k := r.key(t)
	rs := requests(k, 4)
	r.faults.Arm(point, fault.Fail, 1)
	decisions, errs := r.signer.Sign(t.Context(), k.ID, rs)
	if r.faults.Hits()[point] == 0 {
		t.Fatal("signing does not pass this point")
	}
	for i, d := range decisions {
		if (errs[i] == nil) != (len(d.Signed.Raw) > 0) {
			t.Errorf("request %d: bytes %x with error %v", i, d.Signed.Raw, errs[i])
		}
		if errs[i] != nil && !errors.Is(errs[i], fault.ErrInjected) {
			t.Errorf("request %d: %v; want the injected fault as the cause", i, errs[i])
		}
	}
	if restart {
		r.start(t, "signer/again")
		if err := r.signer.Recover(t.Context(), "signer"); err != nil {
			t.Fatal(err)
		}
	}
	again := r.sign(t, k, rs)
	for i, d := range decisions {
		if errs[i] == nil && d.Signed.Hash != again[i].Signed.Hash {
			t.Errorf("request %d was answered with two hashes (I13)", i)
		}
	}
	checkAll(t, r, k, rs)
}

// TestReportedFailedIsReadBack: a commit that happened and was reported as failed is no failure.
func TestReportedFailedIsReadBack(t *testing.T) {
	for _, point := range []string{"decisions.decide.after", "decisions.store.after", "keys.release.after", "keys.release.before"} {
		r := newRoom(t)
		k := r.key(t)
		rs := requests(k, 3)
		r.faults.Arm(point, fault.Fail, 1)
		r.sign(t, k, rs)
		if r.faults.Hits()[point] == 0 || r.keys.signatures() != len(rs) {
			t.Errorf("%s: %d signatures for %d requests", point, r.keys.signatures(), len(rs))
		}
		checkAll(t, r, k, rs)
	}
}

// TestI6TwoSignersOneKey: two signers of one process, many batches, one key: one nonce sequence without gap or double.
func TestI6TwoSignersOneKey(t *testing.T) {
	r := newRoom(t)
	k := r.key(t)
	signers := []*signer.Signer{r.signer, r.another("signer/b", time.Minute)}
	var wg sync.WaitGroup
	var mu sync.Mutex
	taken := map[uint64]int{}
	for _, s := range signers {
		for range 3 {
			wg.Go(func() {
				for range 4 {
					decisions, errs := s.Sign(t.Context(), k.ID, requests(k, 3))
					if err := errors.Join(errs...); err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					for _, d := range decisions {
						taken[d.Nonce]++
					}
					mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	for nonce := range uint64(2 * 3 * 4 * 3) {
		if taken[nonce] != 1 {
			t.Errorf("nonce %d was signed %d times", nonce, taken[nonce])
		}
	}
}

// TestI8OvertakenSignerIsRefused: a signer that was stopped for longer than its lease (fault S) wakes up after another has
// gone on with the key. It decides and signs nothing; asked again, it gets nonces of its own.
func TestI8OvertakenSignerIsRefused(t *testing.T) {
	r := newRoom(t)
	k := r.key(t)
	stopped, resume := make(chan struct{}), make(chan struct{})
	slow := signer.New(r.registry, r.decisions, r.keys, codecs, func(context.Context, string, string) (chain.Account, error) {
		close(stopped)
		<-resume // under its lease, before its decision
		return chain.Account{}, nil
	}, signer.Options{Holder: "signer/slow", TTL: time.Millisecond})
	late := requests(k, 2)
	type answer struct {
		decisions []signer.Decision
		errs      []error
	}
	done := make(chan answer)
	go func() {
		decisions, errs := slow.Sign(t.Context(), k.ID, late)
		done <- answer{decisions, errs}
	}()
	<-stopped
	quick := r.sign(t, k, requests(k, 3))
	close(resume)
	got := <-done
	for i, err := range got.errs {
		if !errors.Is(err, key.ErrStale) || len(got.decisions[i].Signed.Raw) != 0 {
			t.Errorf("the overtaken signer got %+v, %v; want lease-stale", got.decisions[i], err)
		}
	}
	if r.keys.signatures() != len(quick) {
		t.Errorf("%d signatures; want only those of the quick signer", r.keys.signatures())
	}
	for i, d := range r.sign(t, k, late) {
		if d.Nonce != uint64(3+i) {
			t.Errorf("the late request %d has nonce %d; want %d", i, d.Nonce, 3+i)
		}
	}
}
