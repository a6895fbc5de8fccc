//go:build nodes

package chainfaults

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/backend/sqlite"
	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/chain/evm"
	"github.com/avalhq/aval/internal/chain/evm/nodes"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/keystore/sealed"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/transaction"
	"github.com/avalhq/aval/test/e2e/stage"
)

// room is a keeper with everything under it, real keys and a real database, over a real node, and one lane.
type room struct {
	node    *nodes.Node
	wire    *stage.Wire // before the node: what was ever sent
	network *evm.Network
	store   *sqlite.Transactions
	keys    *sqlite.Keys
	signer  *signer.Signer
	keeper  *transaction.Keeper
	k       key.Key
	steps   []signer.Step // all that were decided, in order
	values  []int64       // what each of them pays
}

// confirmations is how deep a transaction has to be in all rooms.
const confirmations = 2

// finalDepth is how deep it has to be to be settled.
const finalDepth = 16

// setup is what a room differs in.
type setup struct {
	policy   chain.FeePolicy // of all transactions
	config   evm.Config
	via      func(wire string) []string // ways to the wire, when there is something between it and Aval
	finality chain.Tag                  // by what a transaction counts as confirmed; "": by depth
}

// newRoom begins to keep a lane over the node.
func newRoom(t *testing.T, node *nodes.Node, s setup) *room {
	t.Helper()
	r := &room{node: node, wire: stage.NewWire(t, node.URL())}
	config := s.config
	config.URLs = []string{r.wire.URL}
	if s.via != nil {
		config.URLs = s.via(r.wire.URL)
	}
	config.Poll, config.FeeAge = 20*time.Millisecond, time.Nanosecond
	var err error
	r.network, err = evm.Dial(t.Context(), config)
	check(t, err)
	t.Cleanup(r.network.Close)
	folder := t.TempDir()
	db, err := sqlite.Open(t.Context(), filepath.Join(folder, "aval.db"), sqlite.Options{})
	check(t, err)
	t.Cleanup(func() { check(t, db.Close()) })
	store, err := sealed.Open(context.Background(), sealed.Options{Folder: filepath.Join(folder, "keys"), KeyFile: filepath.Join(folder, "kek"), Create: true})
	check(t, err)
	r.keys, r.store = sqlite.NewKeys(db), sqlite.NewTransactions(db)
	r.signer = signer.New(r.keys, sqlite.NewDecisions(db), store, func(string) (chain.Codec, error) { return r.network.Codec(), nil }, r.account, signer.Options{})
	r.k, err = r.signer.CreateKey(t.Context(), r.network.ID(), "")
	check(t, err)
	check(t, node.Fund(t.Context(), r.k.Address, big.NewInt(9e18)))
	ports := transaction.Ports{Store: r.store, Network: r.network, Follower: r.network, Market: r.network, Signer: r.signer, Keys: r.keys}
	r.keeper = transaction.New(ports, transaction.Options{
		Confirmations: confirmations, FinalDepth: finalDepth, Finality: s.finality, Every: 100 * time.Millisecond,
		Policy: func(context.Context, signer.Step) (chain.FeePolicy, error) { return s.policy, nil },
	})
	r.run(t)
	return r
}

func (r *room) account(ctx context.Context, _, address string) (chain.Account, error) {
	return r.network.Account(ctx, address)
}

// run lets the keeper work until the test ends.
func (r *room) run(t *testing.T) {
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error)
	go func() { done <- r.keeper.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		check(t, <-done)
	})
}

// decide signs n transfers, each of another amount, each spoilt as wanted; the bytes of none are with the node.
func (r *room) decide(t *testing.T, n int, spoil func(i int, tx *chain.Unsigned)) []signer.Step {
	t.Helper()
	calls := make([]chain.Call, n)
	for i := range calls {
		r.values = append(r.values, int64(1000+len(r.values)))
		calls[i] = chain.Call{From: r.k.Address, To: sink, Value: big.NewInt(r.values[len(r.values)-1])}
	}
	var txs []chain.Unsigned
	eventually(t, "the transfers to be priced", func() bool {
		var errs []error
		txs, errs = r.network.Build(t.Context(), calls)
		return errors.Join(errs...) == nil
	}, func() string { _, errs := r.network.Build(t.Context(), calls); return fmt.Sprint(errors.Join(errs...)) })
	requests, steps := make([]signer.Request, n), make([]signer.Step, n)
	for i := range requests {
		if spoil != nil {
			spoil(i, &txs[i])
		}
		steps[i] = signer.Step{Message: message.NewID(), State: "Sign"}
		requests[i] = signer.Request{Step: steps[i], Tx: txs[i]}
	}
	_, errs := r.signer.Sign(t.Context(), r.k.ID, requests)
	check(t, errors.Join(errs...))
	r.steps = append(r.steps, steps...)
	return steps
}

// sink is who is paid.
const sink = "0x000000000000000000000000000000000000dEaD"

// send decides n transfers and gives them to the node.
func (r *room) send(t *testing.T, n int, spoil func(i int, tx *chain.Unsigned)) []signer.Step {
	t.Helper()
	steps := r.decide(t, n, spoil)
	check(t, errors.Join(r.keeper.Offer(t.Context(), steps)...))
	return steps
}

// find gives what is recorded of steps.
func (r *room) find(t *testing.T, steps []signer.Step) []transaction.Transaction {
	t.Helper()
	found, err := r.keeper.Find(t.Context(), steps)
	check(t, err)
	all := make([]transaction.Transaction, len(steps))
	for i, s := range steps {
		all[i] = found[s]
	}
	return all
}

// confirmed waits until all of the steps are, and gives them. Meanwhile it lets the chain grow by again and again.
func (r *room) confirmed(t *testing.T, steps []signer.Step, grow func()) (all []transaction.Transaction) {
	t.Helper()
	next := time.Now()
	eventually(t, "all transactions to be confirmed", func() bool {
		all = r.find(t, steps)
		for _, tx := range all {
			if tx.Status() == transaction.Confirmed {
				continue
			}
			if grow != nil && time.Now().After(next) {
				grow()
				next = time.Now().Add(50 * time.Millisecond)
			}
			return false
		}
		return true
	}, func() string { return r.open(t, steps) })
	return all
}

// open tells what is not confirmed.
func (r *room) open(t *testing.T, steps []signer.Step) string {
	var text strings.Builder
	for _, tx := range r.find(t, steps) {
		if tx.Status() != transaction.Confirmed {
			fmt.Fprintf(&text, "nonce %d is %s with %d attempts, events %v\n", tx.Nonce, tx.Status(), len(tx.Attempts), words(r.events(t, tx)))
		}
	}
	return text.String()
}

func (r *room) events(t *testing.T, tx transaction.Transaction) []transaction.Event {
	t.Helper()
	events, err := r.store.Events(t.Context(), tx.Key, tx.Nonce)
	check(t, err)
	return events
}

func words(events []transaction.Event) (all []string) {
	for _, e := range events {
		all = append(all, e.What)
	}
	return all
}

// only spoils one of the transactions.
func only(which int, spoil func(tx *chain.Unsigned)) func(int, *chain.Unsigned) {
	return func(i int, tx *chain.Unsigned) {
		if i == which {
			spoil(tx)
		}
	}
}
