// Package chaintest is the conformance suite of the chain port: what every Network with its Codec must do, shown from outside
// by moving coin between accounts. It drives a real node; a chain's own test says how to start one, fund an account and sign.
package chaintest

import (
	"context"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/conform"
	"github.com/avalhq/aval/internal/problem"
)

// Account is an account that the suite may use.
type Account interface {
	Address() string
	// Sign signs a digest: r, s, recovery id.
	Sign(digest []byte) ([]byte, error)
}

// Subject is what the suite tests, with what it needs from outside.
type Subject struct {
	Network  chain.Network
	Market   chain.Market
	Replayer chain.Replayer
	Follower chain.Follower
	Codec    chain.Codec
	// Head reads the newest block's number from the node itself, past the Network.
	Head func(t *testing.T) uint64
	// Account makes an account with that much coin, already mined. 0 makes an empty one.
	Account func(t *testing.T, wei int64) Account
	// Reverting is a contract and call data that always revert with the reason "no".
	Reverting func(t *testing.T) (contract string, data []byte)
	// Mismatched opens the same node with another chain id expected, Unreachable a node that is not there. What they answer
	// is the error of the first contact.
	Mismatched, Unreachable func(t *testing.T) error
}

// coin is 10^15 wei: enough for every fee in the suite.
const coin = 1_000_000_000_000_000

// Run runs the suite. Each test gets a Subject of its own.
func Run(t *testing.T, open func(t *testing.T) Subject) {
	conform.Suite[Subject]{
		Cases: map[string]func(*testing.T, Subject){
			"basic/a transfer moves the balance and is confirmed":             transfers,
			"basic/a batch is sent in order":                                  batches,
			"transactions/what is sent again is sent once":                    sendsOnce,
			"basic/what was mined counts as sent":                             sendsMined,
			"basic/an unknown hash is unknown":                                unknown,
			"basic/depth grows with the head":                                 depth,
			"basic/an account that cannot pay is refused before its nonce":    poor,
			"basic/a transaction that cannot be paid any more is refused":     drained,
			"basic/one failing call leaves the others of a batch alone":       mixed,
			"basic/a revert is told with its reason":                          reverts,
			"basic/what was mined and reverted is told with its reason":       undone,
			"transactions/another transaction with the same nonce is refused": nonceUsed,
			"basic/a replacement is taken at a tenth more":                    replaces,
			"basic/a transaction with one gas price is mined":                 legacy,
			"faults/another chain is refused":                                 func(t *testing.T, s Subject) { wants(t, s.Mismatched(t), "chain-mismatch") },
			"faults/a node that is not there is unreachable":                  func(t *testing.T, s Subject) { wants(t, s.Unreachable(t), "chain-unreachable") },
			"basic/a signature of another key is refused (A28)":               foreignSignature,
			"basic/nonces and heads follow the chain":                         follows,
			"basic/what a nonce was used for is found":                        traces,
			"basic/a high s is refused (A3)":                                  highS,
			"faults/a transaction for another chain is refused (A9)":          otherChain,
			"basic/signed bytes say what was signed, and by whom":             decodes,
			"faults/a cancelled context ends a call":                          cancelled,
		},
		Lacks: map[conform.Tier]string{
			conform.Concurrency: "a node puts what it is given into an order of its own",
		},
	}.Run(t, open)
}

func transfers(t *testing.T, s Subject) {
	from, to := s.Account(t, coin), s.Account(t, 0)
	status := s.confirmed(t, s.send(t, from, to.Address(), 1234))
	if !status.Success || status.Depth < 1 || status.Hash == "" || status.GasUsed == 0 || status.Fee.Sign() <= 0 {
		t.Errorf("the status of a confirmed transfer is %+v", status)
	}
	if got := s.account(t, to.Address()).Balance; got.Int64() != 1234 {
		t.Errorf("the recipient has %s, not 1234", got)
	}
	left := big.NewInt(coin - 1234)
	left.Sub(left, status.Fee)
	if got := s.account(t, from.Address()); got.Balance.Cmp(left) != 0 || got.Nonce != 1 || got.Pending != 1 {
		t.Errorf("the sender has %+v, not the balance %s and one nonce used", got, left)
	}
}

func batches(t *testing.T, s Subject) {
	from, to := s.Account(t, coin), s.Account(t, 0)
	calls := make([]chain.Call, 20)
	for i := range calls {
		calls[i] = chain.Call{From: from.Address(), To: to.Address(), Value: big.NewInt(1)}
	}
	raw, hashes := make([][]byte, len(calls)), make([]string, len(calls))
	for i, tx := range s.build(t, calls) {
		signed := s.sign(t, from, tx, uint64(i))
		raw[i], hashes[i] = signed.Raw, signed.Hash
	}
	for i, err := range s.Network.Send(t.Context(), raw) {
		if err != nil {
			t.Fatalf("transaction %d: %v", i, err)
		}
	}
	for _, hash := range hashes {
		s.confirmed(t, hash)
	}
	if got := s.account(t, to.Address()).Balance; got.Int64() != 20 {
		t.Errorf("20 transfers of 1 moved %s", got)
	}
}

func sendsOnce(t *testing.T, s Subject) {
	from, to := s.Account(t, coin), s.Account(t, 0)
	signed := s.sign(t, from, s.build(t, []chain.Call{{From: from.Address(), To: to.Address(), Value: big.NewInt(7)}})[0], 0)
	for _, err := range s.Network.Send(t.Context(), [][]byte{signed.Raw, signed.Raw}) {
		wants(t, err, "")
	}
	s.confirmed(t, signed.Hash)
	if got := s.account(t, to.Address()).Balance; got.Int64() != 7 {
		t.Errorf("the same bytes sent twice moved %s, not 7", got)
	}
}

func sendsMined(t *testing.T, s Subject) {
	from, to := s.Account(t, coin), s.Account(t, 0)
	signed := s.sign(t, from, s.build(t, []chain.Call{{From: from.Address(), To: to.Address(), Value: big.NewInt(7)}})[0], 0)
	wants(t, s.Network.Send(t.Context(), [][]byte{signed.Raw})[0], "")
	s.confirmed(t, signed.Hash)
	wants(t, s.Network.Send(t.Context(), [][]byte{signed.Raw})[0], "")
}

func unknown(t *testing.T, s Subject) {
	from, to := s.Account(t, coin), s.Account(t, 0)
	mined := s.send(t, from, to.Address(), 1)
	s.confirmed(t, mined)
	never := s.sign(t, from, s.build(t, []chain.Call{{From: from.Address(), To: to.Address()}})[0], 5)
	statuses := s.statuses(t, never.Hash, mined)
	if statuses[0].State != chain.Unknown || statuses[1].State != chain.Mined {
		t.Errorf("a hash that was never sent is %q, a mined one %q", statuses[0].State, statuses[1].State)
	}
}

func depth(t *testing.T, s Subject) {
	from, to := s.Account(t, coin), s.Account(t, 0)
	hash := s.send(t, from, to.Address(), 1)
	first := s.confirmed(t, hash)
	eventually(t, "a third block on top", func() bool { return s.Head(t) >= first.Block+2 })
	before := s.Head(t)
	got := s.statuses(t, hash)[0]
	if got.Block != first.Block || got.Hash != first.Hash || got.Depth < before-first.Block+1 {
		t.Errorf("with the head at %d the status is %+v, in block %d", before, got, first.Block)
	}
	head, err := s.Network.Head(t.Context())
	if err != nil || head < before {
		t.Errorf("the head is %d (%v), not %d or later", head, err, before)
	}
}

func poor(t *testing.T, s Subject) {
	empty, nearly, to := s.Account(t, 0), s.Account(t, 1000), s.Account(t, 0)
	_, errs := s.Network.Build(t.Context(), []chain.Call{
		{From: empty.Address(), To: to.Address(), Value: big.NewInt(1)},
		{From: nearly.Address(), To: to.Address(), Value: big.NewInt(999)}, // the value, but not the gas
	})
	for _, err := range errs {
		wants(t, err, "insufficient-funds")
	}
}

func drained(t *testing.T, s Subject) {
	from, to := s.Account(t, coin), s.Account(t, 0)
	tx := s.build(t, []chain.Call{{From: from.Address(), To: to.Address(), Value: big.NewInt(1)}})[0]
	tx.Value = big.NewInt(coin)
	wants(t, s.Network.Send(t.Context(), [][]byte{s.sign(t, from, tx, 0).Raw})[0], "insufficient-funds")
}

func mixed(t *testing.T, s Subject) {
	from, empty, to := s.Account(t, coin), s.Account(t, 0), s.Account(t, 0)
	good := chain.Call{From: from.Address(), To: to.Address(), Value: big.NewInt(1)}
	txs, errs := s.Network.Build(t.Context(), []chain.Call{
		good, {From: empty.Address(), To: to.Address(), Value: big.NewInt(1)}, {From: from.Address(), To: "0x12"}, good,
		{From: from.Address(), To: to.Address(), Data: []byte{0xa9, 0x05, 0x9c, 0xbb}},
	})
	wants(t, errs[0], "")
	wants(t, errs[1], "insufficient-funds")
	wants(t, errs[2], "address-invalid")
	wants(t, errs[3], "")
	wants(t, errs[4], "address-invalid") // no contract is there
	sent := s.Network.Send(t.Context(), [][]byte{s.sign(t, from, txs[0], 0).Raw, {1, 2, 3}, s.sign(t, from, txs[3], 1).Raw})
	wants(t, sent[0], "")
	wants(t, sent[1], "transaction-refused")
	wants(t, sent[2], "")
}

func reverts(t *testing.T, s Subject) {
	from := s.Account(t, coin)
	contract, data := s.Reverting(t)
	_, errs := s.Network.Build(t.Context(), []chain.Call{{From: from.Address(), To: contract, Data: data}})
	wants(t, errs[0], "execution-reverted")
	if errs[0] != nil && !strings.Contains(errs[0].Error(), `"no"`) {
		t.Errorf("the reason is missing: %v", errs[0])
	}
}

// undone sends what Build would refuse: a revert can also come about between the estimate and the block.
func undone(t *testing.T, s Subject) {
	from := s.Account(t, coin)
	contract, data := s.Reverting(t)
	tx := s.build(t, []chain.Call{{From: from.Address(), To: from.Address()}})[0]
	tx.To, tx.Data, tx.Gas = contract, data, 100_000
	signed := s.sign(t, from, tx, 0)
	wants(t, s.Network.Send(t.Context(), [][]byte{signed.Raw})[0], "")
	status := s.confirmed(t, signed.Hash)
	if status.Success || status.GasUsed == 0 || status.Fee.Sign() <= 0 {
		t.Errorf("a transaction that reverts is %+v", status)
	}
	reason, err := s.Replayer.Replay(t.Context(), tx, status)
	wants(t, err, "")
	if !strings.Contains(reason, `"no"`) {
		t.Errorf("the reason is told as %q", reason)
	}
}

func nonceUsed(t *testing.T, s Subject) {
	from, to := s.Account(t, coin), s.Account(t, 0)
	txs := s.build(t, []chain.Call{
		{From: from.Address(), To: to.Address(), Value: big.NewInt(1)}, {From: from.Address(), To: to.Address(), Value: big.NewInt(2)},
	})
	first, second := s.sign(t, from, txs[0], 0), s.sign(t, from, txs[1], 0)
	wants(t, s.Network.Send(t.Context(), [][]byte{first.Raw})[0], "")
	s.confirmed(t, first.Hash)
	wants(t, s.Network.Send(t.Context(), [][]byte{second.Raw})[0], "transaction-refused")
	if got := s.account(t, to.Address()).Balance; got.Int64() != 1 {
		t.Errorf("two transactions with one nonce moved %s, not 1", got)
	}
}

func foreignSignature(t *testing.T, s Subject) {
	from, thief, to := s.Account(t, coin), s.Account(t, 0), s.Account(t, 0)
	tx := s.build(t, []chain.Call{{From: from.Address(), To: to.Address(), Value: big.NewInt(1)}})[0]
	_, err := s.Codec.Assemble(tx, 0, signature(t, thief, s.digest(t, tx, 0)))
	wants(t, err, "signature-invalid")
	_, err = s.Codec.Assemble(tx, 1, signature(t, from, s.digest(t, tx, 0)))
	wants(t, err, "signature-invalid")
}

func decodes(t *testing.T, s Subject) {
	from, to := s.Account(t, coin), s.Account(t, 0)
	tx := s.build(t, []chain.Call{{From: from.Address(), To: to.Address(), Value: big.NewInt(5)}})[0]
	tx.Data = []byte{1, 2}
	signed := s.sign(t, from, tx, 9)
	got, err := s.Codec.Decode(signed.Raw)
	wants(t, err, "")
	if got.Nonce != 9 || got.Hash != signed.Hash || !got.Tx.SameIntent(tx) || got.Tx.Gas != tx.Gas || got.Tx.Fee.Cmp(tx.Fee) != 0 || got.Tx.Legacy != tx.Legacy {
		t.Errorf("the bytes of %+v with nonce 9 read %+v", tx, got)
	}
	_, err = s.Codec.Decode(signed.Raw[:len(signed.Raw)-1])
	wants(t, err, "transaction-invalid")
}

func highS(t *testing.T, s Subject) {
	from, to := s.Account(t, coin), s.Account(t, 0)
	tx := s.build(t, []chain.Call{{From: from.Address(), To: to.Address(), Value: big.NewInt(1)}})[0]
	twin := signature(t, from, s.digest(t, tx, 0))
	order, _ := new(big.Int).SetString("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16) // SEC 2, secp256k1
	high := order.Sub(order, new(big.Int).SetBytes(twin[32:64]))
	high.FillBytes(twin[32:64])
	twin[64] ^= 1 // it recovers to the same address
	_, err := s.Codec.Assemble(tx, 0, twin)
	wants(t, err, "signature-invalid")
}

func otherChain(t *testing.T, s Subject) {
	from, to := s.Account(t, coin), s.Account(t, 0)
	tx := s.build(t, []chain.Call{{From: from.Address(), To: to.Address(), Value: big.NewInt(1)}})[0]
	for _, id := range []string{"", "eip155:0", tx.Chain + "1"} {
		tx.Chain = id
		_, err := s.Codec.Digest(tx, 0)
		wants(t, err, "transaction-invalid")
		_, err = s.Codec.Assemble(tx, 0, make([]byte, 65))
		wants(t, err, "transaction-invalid")
	}
}

func cancelled(t *testing.T, s Subject) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Network.Head(ctx)
	wants(t, err, "chain-unreachable")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("the cause is lost: %v", err)
	}
	_, err = s.Network.Head(t.Context())
	wants(t, err, "")
}

// send builds, signs and sends a transfer with the account's next nonce.
func (s Subject) send(t *testing.T, from Account, to string, wei int64) string {
	t.Helper()
	tx := s.build(t, []chain.Call{{From: from.Address(), To: to, Value: big.NewInt(wei)}})[0]
	signed := s.sign(t, from, tx, s.account(t, from.Address()).Pending)
	wants(t, s.Network.Send(t.Context(), [][]byte{signed.Raw})[0], "")
	return signed.Hash
}

func (s Subject) build(t *testing.T, calls []chain.Call) []chain.Unsigned {
	t.Helper()
	txs, errs := s.Network.Build(t.Context(), calls)
	for i, err := range errs {
		if err != nil {
			t.Fatalf("building call %d: %v", i, err)
		}
	}
	return txs
}

func (s Subject) digest(t *testing.T, tx chain.Unsigned, nonce uint64) []byte {
	t.Helper()
	digest, err := s.Codec.Digest(tx, nonce)
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func (s Subject) sign(t *testing.T, by Account, tx chain.Unsigned, nonce uint64) chain.Signed {
	t.Helper()
	signed, err := s.Codec.Assemble(tx, nonce, signature(t, by, s.digest(t, tx, nonce)))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func signature(t *testing.T, by Account, digest []byte) []byte {
	t.Helper()
	signed, err := by.Sign(digest)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func (s Subject) account(t *testing.T, address string) chain.Account {
	t.Helper()
	account, err := s.Network.Account(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	return account
}

func (s Subject) statuses(t *testing.T, hashes ...string) []chain.Status {
	t.Helper()
	statuses, err := s.Network.Status(t.Context(), hashes)
	if err != nil {
		t.Fatal(err)
	}
	return statuses
}

// confirmed waits until the transaction is mined. On the way it may only be pending: once sent it is known.
func (s Subject) confirmed(t *testing.T, hash string) (status chain.Status) {
	t.Helper()
	eventually(t, "the transaction "+hash+" to be mined", func() bool {
		status = s.statuses(t, hash)[0]
		if status.State == chain.Unknown {
			t.Fatalf("the transaction %s was sent and is unknown", hash)
		}
		return status.State == chain.Mined
	})
	return status
}

// wants fails unless err is the problem with that code, or nil for "".
func wants(t *testing.T, err error, code string) {
	t.Helper()
	var typed *problem.Error
	switch {
	case code == "" && err != nil:
		t.Errorf("got the error %v", err)
	case code != "" && (!errors.As(err, &typed) || typed.Code != code):
		t.Errorf("got %v, not a %s", err, code)
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
