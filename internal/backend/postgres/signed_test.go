//go:build cluster

package postgres_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"math/big"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/avalhq/aval/internal/backend/postgres"
	"github.com/avalhq/aval/internal/bus"
	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/chain/evm"
	"github.com/avalhq/aval/internal/chain/evm/devchain"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/sender"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/custody/verify"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/transaction"
	"github.com/avalhq/aval/internal/typeid"
)

// custody is PostgreSQL, a real chain, and a key that the test knows as a thief would; a sender and a verifier read the topic.
type custody struct {
	t            *testing.T
	store        *storage
	network      *evm.Network
	k            key.Key
	private      *ecdsa.PrivateKey
	keys         *postgres.Keys
	decisions    *postgres.Decisions
	transactions *postgres.Transactions
	bus          *postgres.Bus
	parked       *postgres.Parked
	verdicts     *postgres.Verdicts
	verifier     *verify.Verifier
	mu           sync.Mutex
	found        map[verify.Word]int
	sent         map[string]int
}

func newCustody(t *testing.T) *custody {
	c := &custody{t: t, store: newStorage(t), found: map[verify.Word]int{}, sent: map[string]int{}}
	dev, err := devchain.Start(t.Context(), devchain.Config{BlockTime: 20 * time.Millisecond})
	c.must(err)
	t.Cleanup(func() { _ = dev.Close() })
	c.network, err = evm.Dial(t.Context(), evm.Config{URLs: []string{dev.URL()}, Poll: 10 * time.Millisecond})
	c.must(err)
	t.Cleanup(c.network.Close)
	c.private, err = crypto.GenerateKey()
	c.must(err)
	db := c.store.open(t)
	c.keys, c.decisions, c.transactions = postgres.NewKeys(db), postgres.NewDecisions(db), postgres.NewTransactions(db)
	c.bus, c.parked, c.verdicts = postgres.NewBus(db), postgres.NewParked(db), postgres.NewVerdicts(db)
	c.k = key.Key{ID: typeid.New(signer.KeyPrefix), Chain: c.network.ID(), Address: crypto.PubkeyToAddress(c.private.PublicKey).Hex()}
	c.must(c.keys.Add(t.Context(), c.k))
	c.must(c.keys.Reconcile(t.Context(), c.k.ID, 0))
	_, err = dev.Faucet(t.Context(), c.k.Address, big.NewInt(1e18))
	c.must(err)
	codecs := func(string) (verify.Decoder, error) { return c.network.Codec(), nil }
	c.verifier = verify.New(verify.Ports{Transactions: c.transactions, Keys: c.keys, Verdicts: c.verdicts, Codec: codecs},
		verify.Options{Topic: true, Patience: 500 * time.Millisecond, Observe: func(w verify.Word) { c.count(func() { c.found[w]++ }) }})
	lanes := transaction.New(transaction.Ports{Store: c.transactions, Network: c.network, Follower: c.network, Market: c.network, Keys: c.keys}, transaction.Options{})
	s := &sender.Sender{Transactions: c.transactions, Lanes: map[string]sender.Lanes{c.network.ID(): lanes}, Codec: codecs,
		Observe: func(what string, n int) { c.count(func() { c.sent[what] += n }) }}
	c.consume(sender.Group, s.Handle)
	c.consume(verify.Group, c.verifier.Handle)
	return c
}

func (c *custody) count(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

func (c *custody) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *custody) consume(group string, handle bus.Handler) {
	ctx, stop := context.WithCancel(c.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = bus.Consumer{Bus: c.bus, Parked: c.parked, Group: group, Topics: []string{bus.Signed}, Handle: handle}.Run(ctx)
	}()
	c.t.Cleanup(func() { stop(); <-ended })
}

const receiver = "0x000000000000000000000000000000000000dEaD"

func (c *custody) transfer(wei int64) chain.Unsigned {
	return chain.Unsigned{Chain: c.k.Chain, From: c.k.Address, To: receiver, Value: big.NewInt(wei), Gas: 21000, Fee: big.NewInt(9e9), Tip: big.NewInt(1e9)}
}

func (c *custody) forge(tx chain.Unsigned, nonce uint64) chain.Signed {
	c.t.Helper()
	digest, err := c.network.Codec().Digest(tx, nonce)
	c.must(err)
	signature, err := crypto.Sign(digest, c.private)
	c.must(err)
	signed, err := c.network.Codec().Assemble(tx, nonce, signature)
	c.must(err)
	return signed
}

// sign decides, signs and stores transfers of one wei, as a worker does, and does not announce them.
func (c *custody) sign(n int) []signer.Decision {
	c.t.Helper()
	steps := make([]signer.Step, n)
	for i := range n {
		steps[i] = signer.Step{Message: message.NewID(), State: "Sign"}
	}
	return c.signFor(steps...)
}

func (c *custody) signFor(steps ...signer.Step) []signer.Decision {
	c.t.Helper()
	lease, err := c.keys.Lease(c.t.Context(), key.Request{Holder: "test/sign", Key: c.k.ID, TTL: time.Minute})
	c.must(err)
	txs := make([]chain.Unsigned, len(steps))
	for i := range txs {
		txs[i] = c.transfer(1)
	}
	decided, err := c.decisions.Decide(c.t.Context(), lease, steps, txs)
	c.must(err)
	c.must(c.keys.Release(c.t.Context(), lease))
	for i := range decided {
		decided[i].Signed = c.forge(decided[i].Tx, decided[i].Nonce)
	}
	kept, err := c.decisions.Store(c.t.Context(), decided)
	c.must(err)
	return kept
}

func (c *custody) announce(decisions ...signer.Decision) {
	c.t.Helper()
	records := make([]bus.Record, len(decisions))
	for i, d := range decisions {
		var err error
		records[i], err = signer.SignedRecord(d)
		c.must(err)
	}
	c.must(c.bus.Publish(c.t.Context(), records))
}

// eventually waits until what was counted is as it should be.
func (c *custody) eventually(what string, is func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		c.mu.Lock()
		done := is()
		c.mu.Unlock()
		if done {
			return
		}
		if time.Now().After(deadline) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.t.Fatalf("%s did not come: verdicts %v, sender %v", what, c.found, c.sent)
		}
	}
}

// spent asks the chain how many transactions of the key it holds, and what the receiver has.
func (c *custody) spent() (nonce uint64, wei int64) {
	c.t.Helper()
	from, err := c.network.Account(c.t.Context(), c.k.Address)
	c.must(err)
	to, err := c.network.Account(c.t.Context(), receiver)
	c.must(err)
	return from.Pending, to.Balance.Int64()
}

func (c *custody) compare() (report verify.Report, found []verify.Verdict) {
	c.t.Helper()
	report, err := c.verifier.Compare(c.t.Context(), verify.Comparison{Grace: time.Millisecond, Found: func(v verify.Verdict) { found = append(found, v) }})
	c.must(err)
	return report, found
}

// TestA28WhatNobodyDecidedIsNotSent puts transactions on the topic of signed ones, signed by a key of ours, that nobody decided.
// None reaches the chain; each is parked with its bytes by both roles, and told; what was decided is sent and mined (I15).
func TestA28WhatNobodyDecidedIsNotSent(t *testing.T) {
	c := newCustody(t)
	good := c.sign(5)
	unknown, other, altered, bare := good[0], good[1], good[2], good[3]
	unknown.Step.Message, unknown.Nonce = message.NewID(), 5
	unknown.Signed = c.forge(c.transfer(1000), 5)
	other.Signed = c.forge(c.transfer(1000), other.Nonce)
	cheap := c.transfer(1)
	cheap.Fee = big.NewInt(8e9)
	altered.Signed = c.forge(cheap, altered.Nonce)
	bare.Nonce, bare.Signed = 40, c.forge(c.transfer(1), 40)
	forged := []signer.Decision{unknown, other, altered, bare}
	c.announce(forged...)
	c.must(c.bus.Publish(t.Context(), []bus.Record{{Topic: bus.Signed, Key: c.k.ID, Value: []byte(`{"raw": 7}`)}}))
	c.announce(good...)
	c.announce(good[:2]...) // and once more, as after a crash
	c.eventually("5 that are sent, 5 that are refused", func() bool {
		return c.sent[sender.Sent] >= 5 && c.sent[sender.Refused] == 5 && c.found[verify.Good] == 5 && c.found[verify.Orphan] == 2 && c.found[verify.Double] == 1 && c.found[verify.Altered] == 1
	})
	c.eventually("5 that are mined", func() bool { nonce, wei := c.spent(); return nonce == 5 && wei == 5 })
	c.eventually("10 that are parked", func() bool { // which comes after they are told
		list, err := c.parked.List(t.Context(), 0, 100)
		return err == nil && len(list) >= 10
	})
	list, err := c.parked.List(t.Context(), 0, 100)
	c.must(err)
	codes := map[string]int{}
	for _, p := range list {
		codes[p.Group+" "+p.Code]++
		if p.Code == "record-malformed" {
			continue
		}
		var value struct{ Raw []byte }
		c.must(json.Unmarshal(p.Value, &value))
		if !slices.ContainsFunc(forged, func(d signer.Decision) bool { return bytes.Equal(d.Signed.Raw, value.Raw) }) {
			t.Errorf("parked is %s", p.Value)
		}
	}
	if codes["sender transaction-injected"] != 4 || codes["tx-verify signature-undecided"] != 4 || codes["sender record-malformed"] != 1 || codes["tx-verify record-malformed"] != 1 || len(list) != 10 {
		t.Errorf("parked are %v", codes)
	}
	report, found := c.compare()
	if report.Signatures != 5 || report.Verdicts != 5 || len(found) != 4 {
		t.Errorf("the comparison says %+v: %+v", report, found)
	}
}

// TestI17VerdictsAfterAReplay: the topic read again from its first record by a new verifier gives no second alarm.
func TestI17VerdictsAfterAReplay(t *testing.T) {
	c := newCustody(t)
	good := c.sign(2)
	forged := good[0]
	forged.Signed = c.forge(c.transfer(1000), 0)
	c.announce(good[0], forged, good[1])
	c.eventually("verdicts", func() bool { return c.found[verify.Good] == 2 && c.found[verify.Double] == 1 })
	again := &custody{t: t, bus: c.bus, parked: c.parked}
	done := make(chan struct{}, 10)
	again.consume("replay", func(ctx context.Context, records []bus.Record) []error {
		defer func() { done <- struct{}{} }()
		c.verifier.Handle(ctx, records)
		return make([]error, len(records))
	})
	<-done
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.found[verify.Good] != 2 || c.found[verify.Double] != 1 {
		t.Errorf("after the replay the verdicts are %v", c.found)
	}
}

// TestI15RowsEditedByTheOwner: the owner of the schema can change what the application's user cannot. It is found, and not sent.
func TestI15RowsEditedByTheOwner(t *testing.T) {
	c := newCustody(t)
	good := c.sign(3)
	c.announce(good[0])
	c.eventually("the first", func() bool { return c.found[verify.Good] == 1 && c.sent[sender.Sent] == 1 })
	if _, found := c.compare(); len(found) != 0 {
		t.Fatalf("before anything was edited: %+v", found)
	}
	owner := session(t, c.store.Admin)
	edit := func(nonce uint64, signed chain.Signed) {
		t.Helper()
		_, err := owner.Exec(t.Context(), "UPDATE signatures SET hash = $1, raw = $2 WHERE decision = (SELECT seq FROM decisions WHERE nonce = $3)", signed.Hash, signed.Raw, int64(nonce))
		c.must(err)
	}
	edit(0, c.forge(c.transfer(5), 0))
	edit(1, c.forge(c.transfer(1000), 1))
	report, found := c.compare()
	if len(found) != 3 || report.Found[verify.Altered] != 3 { // the first is told twice: by what is stored, and by what was verified
		t.Errorf("found %+v", found)
	}
	edited := good[1]
	edited.Signed = c.forge(c.transfer(1000), 1)
	c.announce(edited, good[2])
	c.eventually("a refusal", func() bool {
		return c.sent[sender.Refused] == 1 && c.sent[sender.Sent] == 2 && c.found[verify.Altered] == 1
	})
	_, err := owner.Exec(t.Context(), "DELETE FROM signatures WHERE decision = (SELECT seq FROM decisions WHERE nonce = 2)")
	c.must(err)
	if _, found = c.compare(); !slices.ContainsFunc(found, func(v verify.Verdict) bool { return v.Word == verify.Unsigned && v.Place.Nonce == 2 }) {
		t.Errorf("a signature that was deleted is not found: %+v", found)
	}
}

// TestI15WhatIsNotAnnouncedIsFound: stored bytes whose announcement was lost are verified all the same, and told. What fills a nonce
// is signed by its lane's keeper and announced by nobody: it is verified, and not missed.
func TestI15WhatIsNotAnnouncedIsFound(t *testing.T) {
	c := newCustody(t)
	good := c.sign(3)
	c.signFor(transaction.FillStep(c.k.ID, 3))
	c.announce(good[1])
	c.eventually("one of three", func() bool { return c.found[verify.Good] == 1 })
	c.eventually("the others, from the record", func() bool {
		c.mu.Unlock()
		defer c.mu.Lock()
		c.must(c.verifier.Sweep(t.Context()))
		return c.seen(verify.Unseen) >= 2 && c.seen(verify.Good) >= 4
	})
	c.must(c.verifier.Sweep(t.Context()))
	if c.seen(verify.Good) != 4 || c.seen(verify.Unseen) != 2 {
		t.Errorf("%d are good and %d were not announced; want 4 and 2", c.seen(verify.Good), c.seen(verify.Unseen))
	}
}

func (c *custody) seen(word verify.Word) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.found[word]
}
