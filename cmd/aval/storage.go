package main

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/avalhq/aval/internal/action/controlpoint"
	"github.com/avalhq/aval/internal/action/feeder"
	"github.com/avalhq/aval/internal/auth"
	"github.com/avalhq/aval/internal/backend/sqlite"
	"github.com/avalhq/aval/internal/clients"
	"github.com/avalhq/aval/internal/config"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/keystore"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/event"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/leader"
	"github.com/avalhq/aval/internal/reference"
	"github.com/avalhq/aval/internal/transaction"
	"github.com/avalhq/aval/internal/wallet"
)

// storage is what stands behind the ports to databases: SQLite files (here), or a PostgreSQL database (cluster.go).
type storage struct {
	process      string // names this process in the history
	holder       string // and as the holder of keys
	record       record
	feeder       feeder.Feeder
	nudges       feeder.Nudges
	table        feeder.Table // what the feeder's ids come from when they travel over Kafka; nil without a database
	outbox       event.Outbox
	mirror       mirror
	calls        controlpoint.Journal
	keys         keys
	decisions    signer.Decisions
	transactions transactions
	clients      clients.Store
	secrets      auth.Secrets
	wallets      wallet.Store
	pipeline                    // what SQLite has none of
	sealed       keystore.Blobs // where keys are sealed; nil: in files of the data folder

	ready map[string]func(context.Context) error // what else has to answer, by name

	elections leader.Elections // nil where no other process shares the storage

	keep     time.Duration                                                    // how long events stay for those who follow them
	join     func(ctx context.Context, in installation) (installation, error) // what the database is for good; nil when the data folder says so
	contract func(ctx context.Context) (common.Address, bool, error)          // the contract in the signing domain, once the database belongs to an installation; nil without a database
	watched  []<-chan error                                                   // each tells the failure after which nothing can be written any more
	close    func() error
}

// record is Guarantee's own ports.
type record interface {
	guarantee.Store
	guarantee.Definitions
	guarantee.Calls
	reference.Source
}

// transactions is the transaction manager's ports.
type transactions interface {
	transaction.Store
	transaction.Journal
}

// keys is the key registry's ports.
type keys interface {
	key.Registry
	key.Trust
}

// mirror is the read model's ports.
type mirror interface {
	reference.Store
	reference.Repairs
}

// program names a process on a data folder, and begins the names of those that share a database.
const program = "aval"

// openStorage opens what the configuration says.
func openStorage(ctx context.Context, c config.Config, faults *fault.Points) (storage, error) {
	if c.Database.URL != "" {
		return openDatabase(ctx, c, faults)
	}
	return openFiles(ctx, c.Data, faults)
}

// openFiles opens the SQLite files of a data folder.
func openFiles(ctx context.Context, folder string, faults *fault.Points) (s storage, err error) {
	db, err := sqlite.Open(ctx, filepath.Join(folder, "aval.db"), sqlite.Options{Faults: faults})
	if err != nil {
		return s, err
	}
	view, err := sqlite.OpenReference(ctx, filepath.Join(folder, "reference.db"), sqlite.Options{Faults: faults})
	if err != nil {
		return s, errors.Join(err, db.Close())
	}
	due := sqlite.NewFeeder(db, time.Now)
	return storage{
		process: program, holder: program, record: sqlite.NewGuarantee(db), feeder: due, nudges: due, outbox: sqlite.NewOutbox(db), mirror: sqlite.NewReference(view),
		calls: sqlite.NewCalls(db), keys: sqlite.NewKeys(db), decisions: sqlite.NewDecisions(db), transactions: sqlite.NewTransactions(db),
		clients: sqlite.NewClients(db), secrets: sqlite.NewSecrets(db), wallets: sqlite.NewWallets(db),
		watched: []<-chan error{db.Fatal(), view.Fatal()},
		close:   func() error { return errors.Join(view.Close(), db.Close()) },
	}, nil
}

// closing adds what is to be closed before all else.
func (s *storage) closing(closer func() error) {
	before := s.close
	s.close = func() error { return errors.Join(closer(), before()) }
}

// watch ends with the first failure after which the storage takes nothing any more, or with ctx.
func (s storage) watch(ctx context.Context) error {
	failed := make(chan error, len(s.watched))
	for _, c := range s.watched {
		go func() {
			select {
			case err := <-c:
				failed <- err
			case <-ctx.Done():
			}
		}()
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}
