//go:build cluster

package postgres_test

import (
	"context"
	"math/big"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/action/controlpoint/controlpointtest"
	"github.com/avalhq/aval/internal/action/feeder"
	"github.com/avalhq/aval/internal/action/feeder/feedertest"
	"github.com/avalhq/aval/internal/auth/authtest"
	"github.com/avalhq/aval/internal/backend/postgres"
	"github.com/avalhq/aval/internal/backend/postgres/trial"
	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/clients/clientstest"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/key/keytest"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/custody/signer/signertest"
	"github.com/avalhq/aval/internal/custody/verify/verifytest"
	"github.com/avalhq/aval/internal/event/eventtest"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/guarantee/guaranteetest"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/reference/referencetest"
	"github.com/avalhq/aval/internal/relay"
	"github.com/avalhq/aval/internal/relay/relaytest"
	"github.com/avalhq/aval/internal/transaction/transactiontest"
	"github.com/avalhq/aval/internal/wallet/wallettest"
)

var server = trial.Server{Given: os.Getenv(trial.Variable)}

func TestMain(m *testing.M) { server.Main(m) }

// storage is the database of one test. Each open is the next process: the one before has ended as in a crash.
type storage struct {
	trial.Database
	faults *fault.Points
	last   *postgres.DB
}

func newStorage(t testing.TB) *storage {
	s := &storage{Database: server.Fresh(t), faults: fault.New()}
	t.Cleanup(func() {
		if s.last != nil {
			postgres.Crash(s.last)
		}
	})
	return s
}

func (s *storage) open(t testing.TB) *postgres.DB {
	t.Helper()
	if s.last != nil {
		postgres.Crash(s.last)
	}
	db, err := postgres.Open(t.Context(), s.URL, postgres.Options{Name: "test", Faults: s.faults, Pool: 8})
	if err != nil {
		t.Fatal(err)
	}
	s.last = db
	return db
}

func TestGuarantee(t *testing.T) {
	guaranteetest.Run(t, func(t *testing.T) guaranteetest.Backend { return guaranteeIn(t, newStorage(t)) })
}

func guaranteeIn(t *testing.T, s *storage) guaranteetest.Backend {
	g := postgres.NewGuarantee(s.open(t))
	return guaranteetest.Backend{Store: g, Definitions: g, Calls: g, Faults: s.faults, Reopen: func(t *testing.T) guaranteetest.Backend { return guaranteeIn(t, s) }}
}

func TestFeeder(t *testing.T) {
	feedertest.Run(t, func(t *testing.T) feedertest.Backend {
		return feederIn(t, newStorage(t), &clock{now: feedertest.Start})
	})
}

func feederIn(t *testing.T, s *storage, c *clock) feedertest.Backend {
	db := s.open(t)
	f := postgres.NewFeeder(db, c.Now)
	return feedertest.Backend{Feeder: f, Nudges: f, Beside: beside(s), Store: postgres.NewGuarantee(db), Advance: c.advance,
		Reopen: func(t *testing.T) feedertest.Backend { return feederIn(t, s, c) }}
}

// beside is another process on the same database.
func beside(s *storage) func(t *testing.T) feeder.Nudges {
	return func(t *testing.T) feeder.Nudges {
		db := another(t, s)
		t.Cleanup(func() { postgres.Crash(db) })
		return postgres.NewFeeder(db, time.Now)
	}
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func TestKeys(t *testing.T) {
	keytest.Run(t, func(t testing.TB) keytest.Harness {
		s := newStorage(t)
		return keytest.Harness{Faults: s.faults, Open: func(t testing.TB) key.Registry { return postgres.NewKeys(s.open(t)) }}
	})
}

func TestDecisions(t *testing.T) {
	signertest.Run(t, func(t testing.TB) signertest.Harness {
		s := newStorage(t)
		return signertest.Harness{Faults: s.faults, Open: func(t testing.TB) (key.Registry, signer.Decisions) {
			db := s.open(t)
			return postgres.NewKeys(db), postgres.NewDecisions(db)
		}}
	})
}

func TestRequests(t *testing.T) {
	signertest.RunRequests(t, func(t testing.TB) signertest.RequestsHarness {
		s := newStorage(t)
		return signertest.RequestsHarness{Faults: s.faults, Open: func(t testing.TB) (key.Registry, signer.Decisions, signer.Requests) {
			db := s.open(t)
			return postgres.NewKeys(db), postgres.NewDecisions(db), postgres.NewRequests(db)
		}}
	})
}

func TestCursors(t *testing.T) {
	relaytest.Run(t, func(t testing.TB) relaytest.Harness {
		s := newStorage(t)
		return relaytest.Harness{Faults: s.faults, Open: func(t testing.TB) relay.Cursors { return postgres.NewCursors(s.open(t)) }}
	})
}

func TestOutbox(t *testing.T) {
	eventtest.Run(t, func(t *testing.T) eventtest.Subject {
		s := newStorage(t)
		db := s.open(t)
		g, o := postgres.NewGuarantee(db), postgres.NewOutbox(db)
		stock := accepted(t, g, 600)
		trimAll(t, o, len(stock))
		var mu sync.Mutex
		return eventtest.Subject{Outbox: o, Faults: s.faults, Write: "guarantee.commit", Commit: func(ctx context.Context, n int) ([]message.ID, error) {
			mu.Lock()
			taken := stock[:n]
			stock = stock[n:]
			mu.Unlock()
			return commitStep(ctx, g, taken)
		}}
	})
}

// trimAll reads so many events, all there are, and forgets them.
func trimAll(t *testing.T, o *postgres.Outbox, n int) {
	t.Helper()
	after := int64(0)
	for read := 0; read < n; {
		events, err := o.Read(t.Context(), after, n)
		if err != nil {
			t.Fatal(err)
		}
		read, after = read+len(events), events[len(events)-1].Seq
	}
	if err := o.Trim(t.Context(), after); err != nil {
		t.Fatal(err)
	}
}

// accepted has messages accepted, many at once.
func accepted(t *testing.T, g *postgres.Guarantee, n int) []guarantee.Record {
	t.Helper()
	recs := make([]guarantee.Record, n)
	var wg sync.WaitGroup
	for w := range 50 {
		wg.Go(func() {
			for i := w; i < n; i += 50 {
				recs[i] = guaranteetest.Accept(t, g, "cli_a", "a text")
			}
		})
	}
	wg.Wait()
	return recs
}

// commitStep moves the messages one step, together.
func commitStep(ctx context.Context, g *postgres.Guarantee, recs []guarantee.Record) (ids []message.ID, err error) {
	var ts []guarantee.Transition
	for _, rec := range recs {
		ids, ts = append(ids, rec.ID), append(ts, guaranteetest.Step(rec, "next", guarantee.Running))
	}
	refused, err := g.Commit(ctx, ts)
	for _, one := range refused {
		if err == nil {
			err = one
		}
	}
	return ids, err
}

func TestReference(t *testing.T) {
	referencetest.Run(t, func(t *testing.T) referencetest.Subject {
		s := newStorage(t)
		r := postgres.NewReference(s.open(t))
		return referencetest.Subject{Store: r, Repairs: r, Faults: s.faults}
	})
}

func TestWallets(t *testing.T) {
	wallettest.Run(t, func(t *testing.T) wallettest.Subject { return walletsIn(t, newStorage(t)) })
}

func walletsIn(t *testing.T, s *storage) wallettest.Subject {
	return wallettest.Subject{Store: postgres.NewWallets(s.open(t)), Faults: s.faults, Reopen: func(t *testing.T) wallettest.Subject { return walletsIn(t, s) }}
}

func TestClients(t *testing.T) {
	clientstest.Run(t, func(t *testing.T) clientstest.Subject { return clientsIn(t, newStorage(t)) })
}

func clientsIn(t *testing.T, s *storage) clientstest.Subject {
	return clientstest.Subject{Store: postgres.NewClients(s.open(t)), Faults: s.faults, Reopen: func(t *testing.T) clientstest.Subject { return clientsIn(t, s) }}
}

func TestSecrets(t *testing.T) {
	authtest.Run(t, func(t *testing.T) authtest.Subject { return secretsIn(t, newStorage(t)) })
}

func secretsIn(t *testing.T, s *storage) authtest.Subject {
	return authtest.Subject{Secrets: postgres.NewSecrets(s.open(t)), Faults: s.faults, Reopen: func(t *testing.T) authtest.Subject { return secretsIn(t, s) }}
}

func TestCalls(t *testing.T) {
	controlpointtest.Run(t, func(t *testing.T) controlpointtest.Subject { return callsIn(t, newStorage(t)) })
}

func callsIn(t *testing.T, s *storage) controlpointtest.Subject {
	return controlpointtest.Subject{Journal: postgres.NewCalls(s.open(t)), Faults: s.faults, Reopen: func(t *testing.T) controlpointtest.Subject { return callsIn(t, s) }}
}

func TestTransactions(t *testing.T) {
	transactiontest.Run(t, func(t testing.TB) transactiontest.Harness {
		s := newStorage(t)
		return transactiontest.Harness{Faults: s.faults, Open: func(t testing.TB) transactiontest.Ports {
			db := s.open(t)
			transactions := postgres.NewTransactions(db)
			keys := postgres.NewKeys(db)
			return transactiontest.Ports{Keys: keys, Trust: keys, Decisions: postgres.NewDecisions(db), Store: transactions, Journal: transactions}
		}}
	})
}

func TestTrust(t *testing.T) {
	keytest.RunTrust(t, func(t testing.TB) keytest.TrustHarness {
		s := newStorage(t)
		return keytest.TrustHarness{Faults: s.faults, Open: func(t testing.TB) (key.Registry, key.Trust) {
			keys := postgres.NewKeys(s.open(t))
			return keys, keys
		}}
	})
}

func TestVerdicts(t *testing.T) {
	verifytest.Run(t, func(t testing.TB) verifytest.Harness {
		s := newStorage(t)
		return verifytest.Harness{Faults: s.faults, Open: func(t testing.TB) verifytest.Ports {
			db := s.open(t)
			return verifytest.Ports{Verdicts: postgres.NewVerdicts(db), Keys: postgres.NewKeys(db), Decisions: postgres.NewDecisions(db), Store: postgres.NewTransactions(db)}
		}}
	})
}

// believed is a registry that knows of no lease that has ended.
type believed struct{ leases map[string]key.Lease }

func (b believed) Get(_ context.Context, id string) (key.Key, error) { return b.leases[id].Key, nil }

func TestMirror(t *testing.T) {
	keytest.RunMirror(t, func(t testing.TB) keytest.MirrorHarness {
		s := newStorage(t)
		var db *postgres.DB
		return keytest.MirrorHarness{Faults: s.faults,
			Open: func(t testing.TB) key.Mirror {
				db = s.open(t)
				return postgres.NewMirror(db)
			},
			Decide: func(t testing.TB, l key.Lease) (uint64, error) {
				tx := chain.Unsigned{Chain: l.Key.Chain, From: l.Key.Address, To: "0xdead", Value: big.NewInt(1), Gas: 21000, Fee: big.NewInt(1), Tip: big.NewInt(1)}
				decisions := postgres.NewDecisionsUnder(db, believed{map[string]key.Lease{l.Key.ID: l}})
				decided, err := decisions.Decide(t.Context(), l, []signer.Step{{Message: message.NewID(), State: "Sign"}}, []chain.Unsigned{tx})
				if err != nil {
					return 0, err
				}
				return decided[0].Nonce, nil
			}}
	})
}
