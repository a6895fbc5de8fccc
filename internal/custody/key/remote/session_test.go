package remote_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/key/remote"
	"github.com/avalhq/aval/internal/custody/papers"
	"github.com/avalhq/aval/internal/problem"
)

func add(t *testing.T, c *remote.Client, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if err := c.Add(t.Context(), key.Key{ID: id, Chain: "eip155:1", Address: "0x" + id, Pool: "hot"}); err != nil {
			t.Fatal(err)
		}
	}
}

func named(c *remote.Client, id string) key.Request {
	return key.Request{Holder: c.Process() + "/sign", Key: id, TTL: time.Hour}
}

func leased(t *testing.T, c *remote.Client, id string) key.Lease {
	t.Helper()
	l, err := c.Lease(t.Context(), named(c, id))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// soon ends what should have been answered at once.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func code(err error) string {
	if err == nil {
		return ""
	}
	return problem.From(err).Code
}

// TestI10ASessionThatEndsLeavesItsKeysSetAside: who waits for the key is told, the holder stays on record, and what another worker
// holds, with the same certificate, is left alone.
func TestI10ASessionThatEndsLeavesItsKeysSetAside(t *testing.T) {
	s := onFiles(t, false)
	first := s.worker(t)
	second := s.beside(t, workers...)
	defer func() { _ = second.Close() }()
	add(t, first, "key_a", "key_b")
	lost, kept := leased(t, first, "key_a"), leased(t, second, "key_b")
	waiting := make(chan error)
	go func() {
		_, err := second.Lease(soon(t), named(second, "key_a"))
		waiting <- err
	}()
	s.closeLast(t)
	if err := <-waiting; !errors.Is(err, key.ErrQuarantined) {
		t.Fatalf("who waited for the key of an ended session: %v, want key-quarantined", err)
	}
	if k, err := second.Get(t.Context(), "key_a"); err != nil || k.Status != key.Quarantined || k.Holder != lost.Holder {
		t.Errorf("set aside as %+v, %v; want the holder %s on record", k, err, lost.Holder)
	}
	if err := second.Release(t.Context(), lost); !errors.Is(err, key.ErrStale) {
		t.Errorf("its late release: %v, want lease-stale", err)
	}
	if err := second.Release(t.Context(), kept); err != nil {
		t.Errorf("the other worker's lease: %v", err)
	}
	if err := second.Reconcile(t.Context(), "key_a", 0); err != nil {
		t.Fatal(err)
	}
	if l := leased(t, second, "key_a"); l.Fence <= lost.Fence {
		t.Errorf("the fence went from %d to %d", lost.Fence, l.Fence)
	}
}

// TestI10AWorkerThatWasCutOffBeginsAnew: its connection is lost. It leases in another session, and what it had is set aside: it cannot
// give that back (I9).
func TestI10AWorkerThatWasCutOffBeginsAnew(t *testing.T) {
	s := onFiles(t, false)
	c := s.worker(t)
	add(t, c, "key_a", "key_b")
	lost := leased(t, c, "key_a")
	s.lines.cut()
	ctx := soon(t)
	l, err := c.Lease(ctx, named(c, "key_b"))
	for code(err) == "key-manager-unreachable" && ctx.Err() == nil { // it has not noticed yet
		l, err = c.Lease(ctx, named(c, "key_b"))
	}
	if err != nil {
		t.Fatalf("cut off, it leases no more: %v", err)
	}
	for k := (key.Key{}); k.Status != key.Quarantined; time.Sleep(20 * time.Millisecond) {
		if k, err = c.Get(ctx, "key_a"); err != nil || k.Status == key.Free {
			t.Fatalf("the key of the session that was lost is %+v, %v", k, err)
		}
	}
	if err := c.Release(ctx, lost); !errors.Is(err, key.ErrStale) {
		t.Errorf("its late release: %v, want lease-stale", err)
	}
	if err := c.Release(ctx, l); err != nil {
		t.Errorf("the release of the new lease: %v", err)
	}
}

// slow is a registry that is disturbed.
type slow struct {
	remote.Registry
	deaf  time.Duration // how much later it hears that nobody waits for a lease any more
	full  atomic.Bool   // nothing can be set aside
	tried chan struct{} // gets a signal when that was tried
}

func disturbed(s *site, deaf time.Duration) *slow {
	r := &slow{deaf: deaf, tried: make(chan struct{}, 1)}
	open := s.open
	s.open = func(t testing.TB) remote.Registry {
		r.Registry = open(t)
		return r
	}
	return r
}

func (r *slow) Lease(ctx context.Context, q key.Request) (key.Lease, error) {
	hears, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(r.deaf, cancel) })()
	return r.Registry.Lease(hears, q)
}

func (r *slow) Quarantine(ctx context.Context, lives func(key.Key) bool) ([]key.Key, error) {
	if !r.full.Load() {
		return r.Registry.Quarantine(ctx, lives)
	}
	select {
	case r.tried <- struct{}{}:
	default:
	}
	return nil, problem.New(problem.Unavailable, "storage-full", "there is no room")
}

// TestWhoWasToldThatAKeyIsBusyIsNotGivenIt, however late the key-manager hears that it was given up.
func TestWhoWasToldThatAKeyIsBusyIsNotGivenIt(t *testing.T) {
	s := onFiles(t, false)
	disturbed(s, 300*time.Millisecond)
	first := s.worker(t)
	second := s.beside(t, workers...)
	defer func() { _ = second.Close() }()
	add(t, first, "key_a")
	l := leased(t, first, "key_a")
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := second.Lease(short, named(second, "key_a")); !errors.Is(err, key.ErrBusy) {
		t.Fatalf("the key of another worker: %v, want key-busy", err)
	}
	if err := first.Release(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if again := leased(t, first, "key_a"); again.Fence != l.Fence+1 {
		t.Errorf("after the fence %d it was leased again under %d", l.Fence, again.Fence)
	}
}

// TestI9WhatIsToBeSetAsideIsNotGivenBack: the worker's session has ended, and its key could not be set aside yet. In its next session the
// worker gives the key back: it stays where it is, and is set aside when that can be stored.
func TestI9WhatIsToBeSetAsideIsNotGivenBack(t *testing.T) {
	s := onFiles(t, false)
	registry := disturbed(s, 0)
	first := s.worker(t)
	second := s.beside(t, workers...)
	defer func() { _ = second.Close() }()
	add(t, first, "key_a")
	lost := leased(t, first, "key_a")
	registry.full.Store(true)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		s.closeLast(t) // returns when the key-manager has done what there is to do
	}()
	<-registry.tried
	if err := second.Release(t.Context(), lost); !errors.Is(err, key.ErrStale) {
		t.Errorf("the late release: %v, want lease-stale", err)
	}
	registry.full.Store(false)
	<-closed
	for ctx := soon(t); ; time.Sleep(20 * time.Millisecond) {
		k, err := second.Get(ctx, "key_a")
		if err != nil || k.Status == key.Free {
			t.Fatalf("then it is %+v, %v", k, err)
		}
		if k.Status == key.Quarantined {
			return
		}
	}
}

// TestNobodyHoldsKeysUnderAnothersName: the name in the certificate is that of the holder, alone or followed by a hyphen.
func TestNobodyHoldsKeysUnderAnothersName(t *testing.T) {
	s := onFiles(t, false)
	c := s.worker(t)
	add(t, c, "key_a")
	theirs := leased(t, c, "key_a")
	one := s.beside(t, "signer-1")
	defer func() { _ = one.Close() }()
	for holder, refused := range map[string]bool{"signer-2/sign": true, "signer-10/sign": true, "sign": true, "worker-1/sign": true} {
		_, err := one.Lease(soon(t), key.Request{Holder: holder, Chain: "eip155:1", Pool: "hot", TTL: time.Hour})
		if got := code(err) == "key-holder-refused"; got != refused {
			t.Errorf("as %s: %v", holder, err)
		}
	}
	if err := one.Release(t.Context(), theirs); code(err) != "key-holder-refused" {
		t.Errorf("another worker's lease was released: %v", err)
	}
	if err := c.Release(t.Context(), theirs); err != nil {
		t.Fatal(err)
	}
	if l := leased(t, one, "key_a"); !strings.HasPrefix(l.Holder, "signer-1-") {
		t.Errorf("held by %s", l.Holder)
	}
}

// TestCertificates: plain text, no certificate, and one of another authority get no session.
func TestCertificates(t *testing.T) {
	s := onFiles(t, false)
	s.start(t)
	other, err := papers.New()
	if err != nil {
		t.Fatal(err)
	}
	stranger := &site{set: other}
	bare := s.tls(t, "worker-1")
	bare.Certificates = nil
	unknown := s.tls(t, "worker-1")
	unknown.Certificates = stranger.tls(t, "worker-1").Certificates
	for what, options := range map[string]remote.Options{
		"certificate-refused: no certificate":             {TLS: bare},
		"certificate-refused: of another authority":       {TLS: unknown},
		"certificate-refused: a server of another":        {TLS: stranger.tls(t, "worker-1")},
		"unreachable: plain text where certificates rule": {},
	} {
		options.Address, options.Name = s.address, "worker-1"
		if c, err := remote.Open(t.Context(), options); err == nil {
			_ = c.Close()
			t.Errorf("%s: it has a session", what)
		} else if wanted, _, _ := strings.Cut(what, ":"); code(err) != "key-manager-"+wanted || problem.KindOf(err) != problem.Invalid {
			t.Errorf("%s: %v (%s)", what, err, code(err))
		}
	}
	s.stop(t)
	if _, err := remote.Open(t.Context(), remote.Options{Address: s.address, TLS: s.tls(t, "worker-1"), Name: "worker-1"}); code(err) != "key-manager-unreachable" {
		t.Errorf("nobody there: %v", err)
	}
}

// TestDrainWaitsForWhatIsHeld: nothing more is leased; what is held can be given back.
func TestDrainWaitsForWhatIsHeld(t *testing.T) {
	s := onFiles(t, true)
	c := s.worker(t)
	add(t, c, "key_a", "key_b")
	l := leased(t, c, "key_a")
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	s.server.Drain(short)
	if short.Err() == nil {
		t.Fatal("it did not wait for the lease")
	}
	if _, err := c.Lease(t.Context(), named(c, "key_b")); code(err) != "key-manager-stopping" {
		t.Errorf("a lease while it drains: %v", err)
	}
	if err := c.Release(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	s.server.Drain(t.Context())
}
