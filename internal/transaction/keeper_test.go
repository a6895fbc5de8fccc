package transaction_test

import (
	"context"
	"errors"
	"math/big"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/backend/sqlite"
	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/chain/evm"
	"github.com/avalhq/aval/internal/chain/evm/devchain"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/keystore/sealed"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/transaction"
)

// room is a keeper with everything under it: real keys, a real database, a real chain.
type room struct {
	chain   *devchain.Chain
	network *evm.Network
	keys    *sqlite.Keys
	store   *sqlite.Transactions
	signer  *signer.Signer
	keeper  *transaction.Keeper
	k       key.Key
	options transaction.Options

	mu     sync.Mutex
	events []string
}

func newRoom(t *testing.T, options transaction.Options) *room {
	r := &room{}
	var err error
	r.chain, err = devchain.Start(t.Context(), devchain.Config{BlockTime: 20 * time.Millisecond})
	check(t, err)
	t.Cleanup(func() { check(t, r.chain.Close()) })
	r.network, err = evm.Dial(t.Context(), evm.Config{URLs: []string{r.chain.URL()}, Poll: 10 * time.Millisecond, FeeAge: time.Nanosecond})
	check(t, err)
	t.Cleanup(r.network.Close)
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "aval.db"), sqlite.Options{Faults: options.Faults})
	check(t, err)
	t.Cleanup(func() { check(t, db.Close()) })
	folder := t.TempDir()
	store, err := sealed.Open(context.Background(), sealed.Options{Folder: filepath.Join(folder, "keys"), KeyFile: filepath.Join(folder, "kek"), Create: true})
	check(t, err)
	codec := func(string) (chain.Codec, error) { return r.network.Codec(), nil }
	nonce := func(ctx context.Context, _, address string) (chain.Account, error) {
		return r.network.Account(ctx, address)
	}
	r.keys, r.store = sqlite.NewKeys(db), sqlite.NewTransactions(db)
	r.signer = signer.New(r.keys, sqlite.NewDecisions(db), store, codec, nonce, signer.Options{})
	r.k, err = r.signer.CreateKey(t.Context(), r.network.ID(), "")
	check(t, err)
	r.fund(t, r.k.Address, 1e18)
	options.Every = 20 * time.Millisecond
	options.Observe.Act = func(what string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.events = append(r.events, what)
	}
	r.options = options
	r.restart()
	return r
}

// restart forgets what a keeper remembers, as the next process does.
func (r *room) restart() {
	ports := transaction.Ports{Store: r.store, Network: r.network, Follower: r.network, Market: r.network, Signer: r.signer, Keys: r.keys}
	r.keeper = transaction.New(ports, r.options)
}

func (r *room) fund(t *testing.T, address string, wei int64) {
	t.Helper()
	_, err := r.chain.Faucet(t.Context(), address, big.NewInt(wei))
	check(t, err)
	eventually(t, "the faucet", func() bool {
		account, err := r.network.Account(t.Context(), address)
		return err == nil && account.Balance.Sign() > 0
	})
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

// sign decides and signs transfers of 1, 2, 3… wei, each spoilt as wanted.
func (r *room) sign(t *testing.T, n int, spoil func(i int, tx *chain.Unsigned)) []signer.Step {
	t.Helper()
	requests, steps := make([]signer.Request, n), make([]signer.Step, n)
	calls := make([]chain.Call, n)
	for i := range calls {
		calls[i] = chain.Call{From: r.k.Address, To: "0x000000000000000000000000000000000000dEaD", Value: big.NewInt(int64(i + 1))}
	}
	txs, errs := r.network.Build(t.Context(), calls)
	check(t, errors.Join(errs...))
	for i := range requests {
		if spoil != nil {
			spoil(i, &txs[i])
		}
		steps[i] = signer.Step{Message: message.NewID(), State: "Sign"}
		requests[i] = signer.Request{Step: steps[i], Tx: txs[i]}
	}
	_, errs = r.signer.Sign(t.Context(), r.k.ID, requests)
	check(t, errors.Join(errs...))
	return steps
}

// ended waits until all are confirmed, and gives them.
func (r *room) ended(t *testing.T, steps []signer.Step) []transaction.Transaction {
	t.Helper()
	all := make([]transaction.Transaction, len(steps))
	eventually(t, "all transactions to be confirmed", func() bool {
		found, err := r.keeper.Find(t.Context(), steps)
		check(t, err)
		for i, s := range steps {
			if all[i] = found[s]; all[i].Status() != transaction.Confirmed {
				return false
			}
		}
		return true
	})
	return all
}

// history is the words of a transaction's events.
func (r *room) history(t *testing.T, tx transaction.Transaction) (words []string) {
	t.Helper()
	events, err := r.store.Events(t.Context(), tx.Key, tx.Nonce)
	check(t, err)
	for _, e := range events {
		words = append(words, e.What)
	}
	return words
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for !done() {
		select {
		case <-deadline:
			t.Fatalf("waited 20 s in vain for %s", what)
		case <-time.After(5 * time.Millisecond): // a chain is polled
		}
	}
}

// patient is a policy under which transactions are raised soon.
func patient(blocks uint64) transaction.Policy {
	return func(context.Context, signer.Step) (chain.FeePolicy, error) {
		return chain.FeePolicy{Patience: blocks}, nil
	}
}

// quick is rules that do not wait for what happens seldom on a chain that has nothing to do.
var quick = transaction.Rules{Grace: 50 * time.Millisecond, Slow: 200 * time.Millisecond}

// TestI12AnUnderpricedTransactionIsRaised: it is in the middle of its lane, and those behind it go on.
func TestI12AnUnderpricedTransactionIsRaised(t *testing.T) {
	r := newRoom(t, transaction.Options{Confirmations: 2, Rules: quick, Policy: patient(2)})
	steps := r.sign(t, 5, func(i int, tx *chain.Unsigned) {
		if i == 2 {
			tx.Fee, tx.Tip = big.NewInt(1), big.NewInt(1) // below the base fee: the pool takes it and no block does
		}
	})
	r.run(t)
	check(t, errors.Join(r.keeper.Offer(t.Context(), steps)...))
	all := r.ended(t, steps)
	for i, tx := range all {
		mined, _ := tx.Ended()
		if !mined.Tx.SameIntent(tx.Attempts[0].Tx) || !tx.Fate.Success {
			t.Errorf("transaction %d was mined as %+v (I6)", i, mined)
		}
		if i != 2 && len(tx.Attempts) != 1 {
			t.Errorf("transaction %d has %d attempts", i, len(tx.Attempts))
		}
	}
	cheap := all[2]
	if mined, _ := cheap.Ended(); mined.Number == 0 || mined.Kind != transaction.Raise || mined.Why == "" || mined.By != transaction.ByKeeper {
		t.Errorf("the cheap one was mined as %+v; events %v", mined, r.history(t, cheap))
	}
}

// only makes one of the transactions other than Build has made it.
func only(which int, spoil func(tx *chain.Unsigned)) func(int, *chain.Unsigned) {
	return func(i int, tx *chain.Unsigned) {
		if i == which {
			spoil(tx)
		}
	}
}

// TestI12WhatTheNodeNeverTakesIsFilled: too little gas, in the middle of a lane. It is cancelled, and those behind it go on.
func TestI12WhatTheNodeNeverTakesIsFilled(t *testing.T) {
	r := newRoom(t, transaction.Options{Confirmations: 2, Rules: quick, Policy: patient(2)})
	steps := r.sign(t, 4, only(1, func(tx *chain.Unsigned) { tx.Gas = 20_000 })) // below the intrinsic gas
	r.run(t)
	check(t, errors.Join(r.keeper.Offer(t.Context(), steps)...))
	for i, tx := range r.ended(t, steps) {
		mined, _ := tx.Ended()
		if (mined.Kind == transaction.NoOp) != (i == 1) || i == 1 && !mined.Tx.Idle() {
			t.Errorf("transaction %d was mined as %+v; events %v", i, mined, r.history(t, tx))
		}
	}
}

// TestI12WhatTheNodeNeverTakesWaitsForNoBlock: the chain makes none, and nobody looks without one for an hour; the node is asked
// again all the same, until what it says is believed.
func TestI12WhatTheNodeNeverTakesWaitsForNoBlock(t *testing.T) {
	r := newRoom(t, transaction.Options{Confirmations: 2, Rules: transaction.Rules{Grace: time.Hour, Slow: time.Hour}})
	steps := r.sign(t, 1, only(0, func(tx *chain.Unsigned) { tx.Gas = 20_000 }))
	var head uint64
	var since time.Time
	eventually(t, "the chain to come to rest", func() bool {
		newest, err := r.network.Head(t.Context())
		check(t, err)
		if newest != head {
			head, since = newest, time.Now()
		}
		return time.Since(since) > time.Second
	})
	r.options.Every = time.Hour
	r.restart()
	r.run(t)
	check(t, errors.Join(r.keeper.Offer(t.Context(), steps)...))
	if mined, _ := r.ended(t, steps)[0].Ended(); mined.Kind != transaction.NoOp {
		t.Errorf("it was mined as %+v", mined)
	}
}

// TestI12WhatItsWorkflowForgotIsSent: decided and not signed, signed and not sent, with what follows behind them.
func TestI12WhatItsWorkflowForgotIsSent(t *testing.T) {
	r := newRoom(t, transaction.Options{Confirmations: 2, Rules: quick})
	steps := r.sign(t, 5, nil)
	r.run(t)
	check(t, errors.Join(r.keeper.Offer(t.Context(), steps[2:])...)) // the first two are with messages that were parked
	r.ended(t, steps)
}

// TestWhatALaneCostsIsTold: fees of what was confirmed, once, and what the address has left.
func TestWhatALaneCostsIsTold(t *testing.T) {
	var mu sync.Mutex
	paid, left := new(big.Int), new(big.Int)
	observe := transaction.Observer{
		Paid: func(_ transaction.Lane, fee *big.Int) { mu.Lock(); defer mu.Unlock(); paid.Add(paid, fee) },
		Coin: func(_ transaction.Lane, balance *big.Int) { mu.Lock(); defer mu.Unlock(); left.Set(balance) },
	}
	r := newRoom(t, transaction.Options{Confirmations: 2, Rules: quick, Observe: observe})
	steps := r.sign(t, 3, nil)
	r.run(t)
	check(t, errors.Join(r.keeper.Offer(t.Context(), steps)...))
	want := new(big.Int)
	for _, tx := range r.ended(t, steps) {
		want.Add(want, tx.Fate.Fee)
	}
	eventually(t, "fees and balance", func() bool { mu.Lock(); defer mu.Unlock(); return paid.Cmp(want) == 0 && left.Sign() > 0 })
}

// TestI13AfterARestartStoredBytesAreSentAgain: what was sent and forgotten by the node, before the process died.
func TestI13AfterARestartStoredBytesAreSentAgain(t *testing.T) {
	r := newRoom(t, transaction.Options{Confirmations: 2, Rules: quick})
	steps := r.sign(t, 3, nil)
	for i, tx := range func() []transaction.Transaction { r.restart(); r.run(t); return r.ended(t, steps) }() {
		if len(tx.Attempts) != 1 || tx.Fate.Attempt != 0 {
			t.Errorf("transaction %d was signed %d times", i, len(tx.Attempts))
		}
	}
}

// TestI14AReorganisationTakesConfirmationBackOnce: the blocks are given up after it was confirmed; it ends once more, elsewhere.
func TestI14AReorganisationTakesConfirmationBackOnce(t *testing.T) {
	r := newRoom(t, transaction.Options{Confirmations: 2, Rules: quick})
	steps := r.sign(t, 1, nil)
	r.run(t)
	check(t, errors.Join(r.keeper.Offer(t.Context(), steps)...))
	before := r.ended(t, steps)[0]
	eventually(t, "the chain to come to rest", func() bool { // the depth is counted from a head that stands still
		head, err := r.network.Head(t.Context())
		check(t, err)
		return head >= before.Fate.Block+12
	})
	head, err := r.network.Head(t.Context())
	check(t, err)
	check(t, r.chain.Reorg(head-before.Fate.Block+1))
	eventually(t, "the reorganisation to be seen", func() bool {
		found, err := r.keeper.Find(t.Context(), steps)
		check(t, err)
		now := found[steps[0]]
		return now.Fate.Spent() && now.Fate.Hash != before.Fate.Hash && now.Status() == transaction.Confirmed
	})
	words := r.history(t, before)
	if len(words) != 1 || words[0] != transaction.EventReversed && words[0] != transaction.EventMoved {
		t.Errorf("its events are %v", words)
	}
}

// TestAWindowKeepsTheNodeFromBeingFlooded: no more than a window's transactions wait with the node at any time.
func TestAWindowKeepsTheNodeFromBeingFlooded(t *testing.T) {
	rules := quick
	rules.Window = 4
	r := newRoom(t, transaction.Options{Confirmations: 2, Rules: rules})
	steps := r.sign(t, 20, nil)
	check(t, errors.Join(r.keeper.Offer(t.Context(), steps)...))
	account, err := r.network.Account(t.Context(), r.k.Address)
	check(t, err)
	if account.Pending-account.Nonce > 4 {
		t.Errorf("%d transactions are with the node at once", account.Pending-account.Nonce)
	}
	r.run(t)
	r.ended(t, steps)
}

// TestI10AForeignUseHaltsTheKey: somebody else has the key, and spends its next nonce.
func TestI10AForeignUseHaltsTheKey(t *testing.T) {
	r := newRoom(t, transaction.Options{Confirmations: 2, Rules: quick})
	txs, errs := r.network.Build(t.Context(), []chain.Call{{From: r.k.Address, To: r.k.Address}})
	check(t, errors.Join(errs...))
	foreign, err := r.signer.Seal(t.Context(), r.k.ID, txs[0], 0) // nobody decided it
	check(t, err)
	steps := r.sign(t, 1, nil)
	check(t, errors.Join(r.network.Send(t.Context(), [][]byte{foreign.Raw})...))
	stubborn := &stubbornKeys{Keys: r.keys, refuse: 3}
	r.keeper.Keys = stubborn
	r.run(t)
	eventually(t, "the key not to be set aside at first", func() bool { return stubborn.left() == 0 })
	eventually(t, "the transaction to be lost and the key to be set aside", func() bool {
		found, err := r.keeper.Find(t.Context(), steps)
		check(t, err)
		k, err := r.keys.Get(t.Context(), r.k.ID)
		check(t, err)
		return found[steps[0]].Status() == transaction.Lost && k.Status == key.Quarantined
	})
	before := r.refusal(t)
	if !errors.Is(before, key.ErrForeignUse) {
		t.Errorf("the key still signs: %v", before)
	}
	for spent, want := range map[uint64]error{0: key.ErrUnacknowledged, 2: key.ErrUnacknowledged} {
		if err := r.keys.Acknowledge(t.Context(), r.k.ID, spent, "alice", "a test"); !errors.Is(err, want) {
			t.Errorf("acknowledged %d: %v", spent, err)
		}
	}
	check(t, r.keys.Acknowledge(t.Context(), r.k.ID, 1, "alice", "a test of ours"))
	eventually(t, "the lost one to be settled", func() bool {
		found, err := r.keeper.Find(t.Context(), steps)
		check(t, err)
		return found[steps[0]].Settled
	})
	r.ended(t, r.sign(t, 1, nil)) // the next nonce, and the keeper sends what its workflow does not
	entries, err := r.keys.Entries(t.Context(), r.k.ID)
	if err != nil || len(entries) != 2 || entries[0].What != key.EntryDistrusted || entries[1].What != key.EntryAcknowledged || entries[1].By != "alice" || entries[1].Nonce != 1 {
		t.Errorf("its entries are %+v, %v", entries, err)
	}
}

// stubbornKeys cannot set a key aside at first, as a database that is away.
type stubbornKeys struct {
	transaction.Keys
	mu     sync.Mutex
	refuse int
}

func (s *stubbornKeys) Distrust(ctx context.Context, id, by, why string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse > 0 {
		s.refuse--
		return errors.New("the disk is full")
	}
	return s.Keys.Distrust(ctx, id, by, why)
}

func (s *stubbornKeys) left() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refuse
}

// refusal tries to sign one more, and gives the refusal.
func (r *room) refusal(t *testing.T) error {
	t.Helper()
	tx := chain.Unsigned{Chain: r.k.Chain, From: r.k.Address, To: r.k.Address, Value: new(big.Int), Gas: 21_000, Fee: big.NewInt(1e9), Tip: big.NewInt(1)}
	_, errs := r.signer.Sign(t.Context(), r.k.ID, []signer.Request{{Step: signer.Step{Message: message.NewID(), State: "Sign"}, Tx: tx}})
	return errs[0]
}
