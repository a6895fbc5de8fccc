//go:build cluster

package etcd_test

import (
	"context"
	"errors"
	"math/big"
	"os"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/avalhq/aval/internal/backend/etcd"
	"github.com/avalhq/aval/internal/backend/postgres"
	pgtrial "github.com/avalhq/aval/internal/backend/postgres/trial"
	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/key/keytest"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/custody/signer/signertest"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/transaction/transactiontest"
)

var database = pgtrial.Server{Given: os.Getenv(pgtrial.Variable)}

// composed is keys in etcd, and what is decided with them in PostgreSQL. Each open is the next process.
type composed struct {
	*storage
	pgtrial.Database
	db *postgres.DB
}

func newComposed(t testing.TB) *composed {
	c := &composed{Database: database.Fresh(t)}
	c.storage = newStorage(t)
	t.Cleanup(func() { c.end(t) })
	return c
}

func (c *composed) end(t testing.TB) {
	t.Helper()
	c.storage.end(t)
	if c.db != nil {
		if err := c.db.Close(); err != nil {
			t.Error(err)
		}
	}
	c.db = nil
}

func (c *composed) open(t testing.TB) *etcd.Keys {
	t.Helper()
	c.end(t)
	var err error
	if c.db, err = postgres.Open(t.Context(), c.URL, postgres.Options{Name: "test", Faults: c.options.Faults, Pool: 8}); err != nil {
		t.Fatal(err)
	}
	c.options.Owner, c.options.Mirror = c.db.Elsewhere, postgres.NewMirror(c.db)
	return c.storage.open(t)
}

func TestKeysWithDecisionsElsewhere(t *testing.T) {
	keytest.Run(t, func(t testing.TB) keytest.Harness {
		c := newComposed(t)
		return keytest.Harness{Faults: c.options.Faults, Open: func(t testing.TB) key.Registry { return c.open(t) }}
	})
}

func TestTrustWithDecisionsElsewhere(t *testing.T) {
	keytest.RunTrust(t, func(t testing.TB) keytest.TrustHarness {
		c := newComposed(t)
		return keytest.TrustHarness{Faults: c.options.Faults, Open: func(t testing.TB) (key.Registry, key.Trust) {
			k := c.open(t)
			return k, k
		}}
	})
}

func TestDecisionsUnderLeasesElsewhere(t *testing.T) {
	signertest.Run(t, func(t testing.TB) signertest.Harness {
		c := newComposed(t)
		return signertest.Harness{Faults: c.options.Faults, Open: func(t testing.TB) (key.Registry, signer.Decisions) {
			k := c.open(t)
			return k, postgres.NewDecisionsUnder(c.db, k)
		}}
	})
}

func TestTransactionsUnderLeasesElsewhere(t *testing.T) {
	transactiontest.Run(t, func(t testing.TB) transactiontest.Harness {
		c := newComposed(t)
		return transactiontest.Harness{Faults: c.options.Faults, Open: func(t testing.TB) transactiontest.Ports {
			k := c.open(t)
			transactions := postgres.NewTransactions(c.db)
			return transactiontest.Ports{Keys: k, Trust: k, Decisions: postgres.NewDecisionsUnder(c.db, k), Store: transactions, Journal: transactions}
		}}
	})
}

// TestThePrefixOfAnotherDatabase is refused, and so is a process that would lease the keys of this one in the database. The other
// database is left as it was.
func TestThePrefixOfAnotherDatabase(t *testing.T) {
	c := newComposed(t)
	c.open(t)
	other, err := postgres.Open(t.Context(), database.Fresh(t).URL, postgres.Options{Name: "other", Pool: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	options := c.options
	options.Owner, options.Mirror = other.Elsewhere, postgres.NewMirror(other)
	if _, err := etcd.Open(t.Context(), options); problem.From(err).Code != "etcd-of-another-cluster" || problem.KindOf(err) != problem.Invalid {
		t.Errorf("the prefix of another database: %v", err)
	}
	if err := other.Here(t.Context()); err != nil {
		t.Errorf("the database that was refused: %v", err)
	}
	if err := c.db.Here(t.Context()); problem.From(err).Code != "keys-elsewhere" {
		t.Errorf("a process that would lease the keys in the database itself: %v", err)
	}
}

// TestTheTableIsRestored: the table of decisions is an older copy, and etcd still knows what was decided since. That counts no more: a
// key that has spent what is forgotten is not freed, and one that has spent nothing else is.
func TestTheTableIsRestored(t *testing.T) {
	c := newComposed(t)
	k := c.open(t)
	ids := usedKeys(t, k, 2)
	pgtrial.Execute(t, c.Admin, "ALTER TABLE aval.keys DISABLE TRIGGER USER; UPDATE aval.keys SET nonce = 5, settled = 5 WHERE id = '"+ids[0]+"'")
	k = c.open(t)
	if n, err := k.SetAsideRestored(t.Context(), "restored"); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	k = c.open(t)
	for i, want := range []uint64{5, 7} {
		found, err := k.Get(t.Context(), ids[i])
		if err != nil || found.Status != key.Quarantined || found.Holder != key.Restored || found.Nonce != want {
			t.Errorf("key %d after the restore: %+v, %v", i, found, err)
		}
	}
	if err := k.Reconcile(t.Context(), ids[0], 7); !errors.Is(err, key.ErrForeignUse) {
		t.Errorf("a key that has spent what is forgotten: %v", err)
	}
	if err := k.Reconcile(t.Context(), ids[1], 7); err != nil {
		t.Errorf("a key that has spent what is known: %v", err)
	}
}

// TestTheRegistryIsRestored: etcd has lost everything. What is decided goes on where it was, and fences too.
func TestTheRegistryIsRestored(t *testing.T) {
	c := newComposed(t)
	k := c.open(t)
	ids := usedKeys(t, k, 3) // free, held, distrusted
	for range 4 {
		decideOne(t, c, k, ids[0], true)
	}
	held := decideOne(t, c, k, ids[1], false)
	if err := k.Distrust(t.Context(), ids[2], "alice", "somebody else has it"); err != nil {
		t.Fatal(err)
	}
	c.options.Prefix += "new/" // an etcd that knows nothing
	k = c.open(t)
	if got, err := k.Get(t.Context(), ids[0]); err != nil || got.Nonce != 11 || got.Fence != 4 || !got.Known || got.Pool != "hot" {
		t.Fatalf("restored as %+v, %v", got, err)
	}
	if err := k.Reconcile(t.Context(), ids[2], 7); !errors.Is(err, key.ErrForeignUse) {
		t.Errorf("a key that was not trusted: %v", err)
	}
	for _, id := range ids[:2] {
		if err := k.Reconcile(t.Context(), id, 8); err != nil {
			t.Fatal(err)
		}
		decideOne(t, c, k, id, true)
	}
	if err := k.Release(t.Context(), held); !errors.Is(err, key.ErrStale) {
		t.Errorf("the release of a lease that was lost: %v", err)
	}
	if got, err := k.Get(t.Context(), ids[0]); err != nil || got.Nonce != 12 || got.Fence != 5 {
		t.Errorf("then it is %+v, %v", got, err)
	}
}

// TestA15TheRegistryIsRestoredFromACopy: etcd is what it was before the newest leases. The key is set aside, and once it was
// compared with its chain it is leased under a fence, and with a nonce, that were never used; what was leased in between decides
// nothing.
func TestA15TheRegistryIsRestoredFromACopy(t *testing.T) {
	c := newComposed(t)
	k := c.open(t)
	ids := usedKeys(t, k, 2)
	for _, id := range ids {
		decideOne(t, c, k, id, true)
	}
	putBack := copied(t, c.options)
	decideOne(t, c, k, ids[0], true)
	late := decideOne(t, c, k, ids[0], false)
	c.end(t)
	putBack()
	k = c.open(t)
	for id, want := range map[string]key.Status{ids[0]: key.Quarantined, ids[1]: key.Free} {
		if got, err := k.Get(t.Context(), id); err != nil || got.Status != want {
			t.Fatalf("restored as %+v, %v; want %s", got, err, want)
		}
	}
	if err := k.Reconcile(t.Context(), ids[0], 7); err != nil {
		t.Fatal(err)
	}
	next := leased(t, k, named(k, ids[0]))
	if next.Fence <= late.Fence {
		t.Errorf("it was leased under the fence %d, and is again under %d", late.Fence, next.Fence)
	}
	decisions := postgres.NewDecisionsUnder(c.db, k)
	if _, err := decideUnder(t.Context(), decisions, late); !errors.Is(err, key.ErrStale) {
		t.Errorf("the late decision: %v, want lease-stale", err)
	}
	if nonce, err := decideUnder(t.Context(), decisions, next); err != nil || nonce != 10 {
		t.Errorf("the next decision has the nonce %d, %v; want 10", nonce, err)
	}
}

// copied keeps what etcd has of the registry; what it gives puts that back.
func copied(t *testing.T, options etcd.Options) (putBack func()) {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: options.Endpoints})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	kept, err := client.Get(t.Context(), options.Prefix+"keys/", clientv3.WithPrefix())
	if err != nil || kept.Count == 0 {
		t.Fatalf("%v keys, %v", kept, err)
	}
	return func() {
		for _, one := range kept.Kvs {
			if _, err := client.Put(t.Context(), string(one.Key), string(one.Value)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// decideUnder decides one transaction.
func decideUnder(ctx context.Context, d *postgres.Decisions, l key.Lease) (nonce uint64, err error) {
	tx := chain.Unsigned{Chain: l.Key.Chain, From: l.Key.Address, To: "0xdead", Value: big.NewInt(1), Gas: 21000, Fee: big.NewInt(1), Tip: big.NewInt(1)}
	decided, err := d.Decide(ctx, l, []signer.Step{{Message: message.NewID(), State: "Sign"}}, []chain.Unsigned{tx})
	if err != nil {
		return 0, err
	}
	return decided[0].Nonce, nil
}

// decideOne leases a key, decides one transaction, and gives the key back if it is asked to.
func decideOne(t *testing.T, c *composed, k *etcd.Keys, id string, back bool) key.Lease {
	t.Helper()
	l := leased(t, k, named(k, id))
	if _, err := decideUnder(t.Context(), postgres.NewDecisionsUnder(c.db, k), l); err != nil {
		t.Fatal(err)
	}
	if back {
		if err := k.Release(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// TestI8TheLateDecisionOfAStoppedProcess: SIGSTOP for longer than the session, before the holder asks the registry and after it was
// told that its lease is good. The key is set aside, leased by another process, which decides; then the stopped one goes on.
func TestI8TheLateDecisionOfAStoppedProcess(t *testing.T) {
	for name, after := range map[string]bool{"before it asks the registry": false, "between the answer and the transaction": true} {
		t.Run(name, func(t *testing.T) {
			c := newComposed(t)
			k := c.open(t)
			id := addKeys(t, k, 1)[0]
			if err := k.Reconcile(t.Context(), id, 7); err != nil {
				t.Fatal(err)
			}
			o := c.startOn(t, c.URL)
			for i, want := range []string{"1", "asked", "7"} {
				if got := o.ask([]string{id, "decide", "on"}[i]); got != want {
					t.Fatalf("the other process said %q, want %q", got, want)
				}
			}
			if after {
				if got := o.ask("decide"); got != "asked" {
					t.Fatal(got)
				}
			}
			o.signal(syscall.SIGSTOP)
			if _, err := k.Lease(within(t, time.Minute), named(k, id)); !errors.Is(err, key.ErrQuarantined) {
				t.Fatalf("the key of a stopped process: %v, want key-quarantined", err)
			}
			if err := k.Reconcile(t.Context(), id, 7); err != nil {
				t.Fatal(err)
			}
			decideOne(t, c, k, id, false)
			o.signal(syscall.SIGCONT)
			if !after {
				if got := o.ask("decide"); got != "asked" {
					t.Fatal(got)
				}
			}
			if got := o.ask("on"); got != key.ErrStale.Code {
				t.Errorf("the late decision: %s, want %s", got, key.ErrStale.Code)
			}
			if got, err := k.Get(t.Context(), id); err != nil || got.Nonce != 9 {
				t.Errorf("the key is %+v, %v; want the next nonce 9", got, err)
			}
		})
	}
}
