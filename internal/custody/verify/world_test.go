package verify_test

import (
	"crypto/ecdsa"
	"fmt"
	"math/big"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/avalhq/aval/internal/backend/sqlite"
	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/chain/evm"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/custody/verify"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/transaction"
	"github.com/avalhq/aval/internal/typeid"
)

const network = "eip155:1337"

var codec = evm.NewCodec(1337)

// world is a system of record with a key whose private part the test knows, as a thief would.
type world struct {
	path      string
	keys      *sqlite.Keys
	decisions *sqlite.Decisions
	store     *sqlite.Transactions
	close     func() error
	k         key.Key
	private   *ecdsa.PrivateKey
	verifier  *verify.Verifier
}

func newWorld(t testing.TB) *world {
	w := &world{path: filepath.Join(t.TempDir(), "aval.db")}
	w.open(t)
	t.Cleanup(func() { _ = w.close() })
	w.private = newPrivate(t)
	w.k = key.Key{ID: typeid.New(signer.KeyPrefix), Chain: network, Address: crypto.PubkeyToAddress(w.private.PublicKey).Hex()}
	must(t, w.keys.Add(t.Context(), w.k))
	must(t, w.keys.Reconcile(t.Context(), w.k.ID, 0))
	return w
}

func (w *world) open(t testing.TB) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), w.path, sqlite.Options{})
	must(t, err)
	w.keys, w.decisions, w.store, w.close = sqlite.NewKeys(db), sqlite.NewDecisions(db), sqlite.NewTransactions(db), db.Close
	w.verifier = verify.New(verify.Ports{Transactions: w.store, Keys: w.keys, Codec: codecs}, verify.Options{})
}

func codecs(id string) (verify.Decoder, error) {
	if id != codec.ID() {
		return nil, fmt.Errorf("there is no chain %s", id)
	}
	return codec, nil
}

func newPrivate(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	private, err := crypto.GenerateKey()
	must(t, err)
	return private
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) transfer(wei int64) chain.Unsigned {
	return chain.Unsigned{Chain: network, From: w.k.Address, To: "0x000000000000000000000000000000000000dEaD", Value: big.NewInt(wei), Gas: 21000, Fee: big.NewInt(3e9), Tip: big.NewInt(1e9)}
}

// decide commits decisions for transfers of 1, 2, … wei.
func (w *world) decide(t testing.TB, n int) []signer.Decision {
	t.Helper()
	lease, err := w.keys.Lease(t.Context(), key.Request{Holder: "test/sign", Key: w.k.ID, TTL: time.Minute})
	must(t, err)
	steps, txs := make([]signer.Step, n), make([]chain.Unsigned, n)
	for i := range n {
		steps[i], txs[i] = signer.Step{Message: message.NewID(), State: "Sign"}, w.transfer(int64(i+1))
	}
	decided, err := w.decisions.Decide(t.Context(), lease, steps, txs)
	must(t, err)
	must(t, w.keys.Release(t.Context(), lease))
	return decided
}

// sign decides, signs and stores transfers.
func (w *world) sign(t testing.TB, n int) []signer.Decision {
	t.Helper()
	decided := w.decide(t, n)
	for i := range decided {
		decided[i].Signed = w.forge(t, decided[i].Tx, decided[i].Nonce)
	}
	kept, err := w.decisions.Store(t.Context(), decided)
	must(t, err)
	return kept
}

// forge signs whatever is asked, and stores nothing.
func (w *world) forge(t testing.TB, tx chain.Unsigned, nonce uint64) chain.Signed {
	t.Helper()
	digest, err := codec.Digest(tx, nonce)
	must(t, err)
	signature, err := crypto.Sign(digest, w.private)
	must(t, err)
	signed, err := codec.Assemble(tx, nonce, signature)
	must(t, err)
	return signed
}

// again signs the same once more, with another random number: other bytes, just as valid.
func (w *world) again(t testing.TB, tx chain.Unsigned, nonce uint64) chain.Signed {
	t.Helper()
	digest, err := codec.Digest(tx, nonce)
	must(t, err)
	n := crypto.S256().Params().N
	half := new(big.Int).Rsh(n, 1)
	secret := new(big.Int).SetBytes(crypto.FromECDSA(w.private))
	k := new(big.Int).SetBytes(crypto.Keccak256(digest, []byte("another")))
	k.Mod(k, n)
	rx, ry := crypto.S256().ScalarBaseMult(k.Bytes())
	s := new(big.Int).Mul(rx, secret)
	s.Add(s, new(big.Int).SetBytes(digest)).Mul(s, new(big.Int).ModInverse(k, n)).Mod(s, n)
	id := byte(ry.Bit(0))
	if s.Cmp(half) > 0 {
		s.Sub(n, s)
		id ^= 1
	}
	signature := make([]byte, 65)
	rx.FillBytes(signature[:32])
	s.FillBytes(signature[32:64])
	signature[64] = id
	signed, err := codec.Assemble(tx, nonce, signature)
	must(t, err)
	return signed
}

// replace decides about an attempt, and stores it when it is signed.
func (w *world) replace(t testing.TB, nonce uint64, a transaction.Attempt, signed bool) transaction.Attempt {
	t.Helper()
	a.By, a.Why, a.At = "test", "to see", time.Now()
	must(t, w.store.Replace(t.Context(), w.k.ID, nonce, a))
	if signed {
		kept, err := w.store.Seal(t.Context(), w.k.ID, nonce, a.Number, w.forge(t, a.Tx, nonce))
		must(t, err)
		a.Signed = kept
	}
	return a
}

func (w *world) raise(n int) transaction.Attempt {
	tx := w.transfer(1)
	return transaction.Attempt{Number: n, Kind: transaction.Raise, Tx: tx.Priced(chain.Price{Fee: big.NewInt(int64(n+1) * 6e9), Tip: big.NewInt(int64(n+1) * 2e9)})}
}

// foreign is a transaction of a kind or chain that Aval never makes.
func (w *world) foreign(t testing.TB, inner types.TxData, chainID int64) []byte {
	t.Helper()
	tx, err := types.SignNewTx(w.private, types.LatestSignerForChainID(big.NewInt(chainID)), inner)
	must(t, err)
	raw, err := tx.MarshalBinary()
	must(t, err)
	return raw
}

func dead() *common.Address {
	a := common.HexToAddress("0xdead")
	return &a
}

// judge judges bytes one by one, and compares the words.
func (w *world) judge(t *testing.T, want verify.Word, raws ...[]byte) []verify.Verdict {
	t.Helper()
	seen := make([]verify.Seen, len(raws))
	for i, raw := range raws {
		seen[i] = verify.Seen{Chain: network, Raw: raw}
	}
	verdicts, err := w.verifier.Judge(t.Context(), seen)
	must(t, err)
	for i, v := range verdicts {
		if v.Word != want || (v.Why == "") != (want == verify.Good) || v.Hash == "" {
			t.Errorf("%d: %+v; want %s", i, v, want)
		}
	}
	return verdicts
}

// compare runs a comparison and gives what was found, by word.
func (w *world) compare(t *testing.T, c verify.Comparison) (verify.Report, map[verify.Word][]verify.Verdict) {
	t.Helper()
	found := map[verify.Word][]verify.Verdict{}
	c.Found = func(v verify.Verdict) { found[v.Word] = append(found[v.Word], v) }
	if c.Grace == 0 {
		c.Grace = time.Millisecond
	}
	report, err := w.verifier.Compare(t.Context(), c)
	must(t, err)
	for word, n := range report.Found {
		if len(found[word]) != n {
			t.Errorf("%d are reported as %s, and %d were told", n, word, len(found[word]))
		}
	}
	return report, found
}

func raws(decisions []signer.Decision) (all [][]byte) {
	for _, d := range decisions {
		all = append(all, d.Signed.Raw)
	}
	return slices.Clip(all)
}
