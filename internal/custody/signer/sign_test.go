package signer_test

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/core/types"

	"github.com/avalhq/aval/internal/backend/sqlite"
	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/chain/evm"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/keystore"
	"github.com/avalhq/aval/internal/custody/keystore/sealed"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/message"
)

const network = "eip155:1337"

// room is a signer with everything under it on one data folder.
type room struct {
	folder    string
	faults    *fault.Points
	registry  *sqlite.Keys
	decisions *sqlite.Decisions
	keys      *watched
	chain     map[string]uint64 // the chain's own count of transactions, by address
	pool      map[string]uint64 // the same with those that wait
	signer    *signer.Signer
	close     func()
}

// watched counts signatures, and lets a test look at the moment of signing.
type watched struct {
	keystore.Store
	mu   sync.Mutex
	n    int
	look func(id string)
}

type watchedHandle struct {
	keystore.Handle
	w *watched
}

func (w *watched) Open(ctx context.Context, id string) (keystore.Handle, error) {
	h, err := w.Store.Open(ctx, id)
	return watchedHandle{h, w}, err
}

func (h watchedHandle) Sign(ctx context.Context, digest []byte) ([]byte, error) {
	h.w.mu.Lock()
	h.w.n++
	look := h.w.look
	h.w.mu.Unlock()
	if look != nil {
		look(h.ID())
	}
	return h.Handle.Sign(ctx, digest)
}

func (w *watched) signatures() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.n
}

func newRoom(t testing.TB) *room {
	r := &room{folder: t.TempDir(), faults: fault.New(), chain: map[string]uint64{}, pool: map[string]uint64{}, close: func() {}}
	r.start(t, "signer")
	t.Cleanup(func() { r.close() })
	return r
}

// start is what a process does at its start; what ran before is gone.
func (r *room) start(t testing.TB, holder string) {
	t.Helper()
	if err := r.open(t.Context(), holder); err != nil {
		t.Fatal(err)
	}
}

func (r *room) open(ctx context.Context, holder string) error {
	r.close()
	db, err := sqlite.Open(ctx, filepath.Join(r.folder, "aval.db"), sqlite.Options{Faults: r.faults})
	if err != nil {
		return err
	}
	r.close = func() { _ = db.Close() }
	store, err := sealed.Open(context.Background(), sealed.Options{Folder: filepath.Join(r.folder, "keystore"), KeyFile: filepath.Join(r.folder, "kek"), Create: true})
	r.registry, r.decisions, r.keys = sqlite.NewKeys(db), sqlite.NewDecisions(db), &watched{Store: store}
	r.signer = r.another(holder, 10*time.Second)
	return err
}

// another is a second signer on the same registry, decisions and keys.
func (r *room) another(holder string, ttl time.Duration) *signer.Signer {
	nonces := func(_ context.Context, _, address string) (chain.Account, error) {
		return chain.Account{Nonce: r.chain[address], Pending: max(r.chain[address], r.pool[address])}, nil
	}
	return signer.New(r.registry, r.decisions, r.keys, codecs, nonces, signer.Options{Holder: holder, TTL: ttl, Faults: r.faults})
}

var codec = evm.NewCodec(1337)

func codecs(id string) (chain.Codec, error) {
	if id != codec.ID() {
		return nil, fmt.Errorf("there is no chain %s", id)
	}
	return codec, nil
}

func (r *room) key(t testing.TB) key.Key {
	t.Helper()
	k, err := r.signer.CreateKey(t.Context(), network, "")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func transfer(from key.Key, amount int64) chain.Unsigned {
	return chain.Unsigned{
		Chain: from.Chain, From: from.Address, To: "0x000000000000000000000000000000000000dEaD", Value: big.NewInt(amount),
		Gas: 21000, Fee: big.NewInt(3e9), Tip: big.NewInt(1e9),
	}
}

func requests(from key.Key, n int) []signer.Request {
	rs := make([]signer.Request, n)
	for i := range rs {
		rs[i] = signer.Request{Step: signer.Step{Message: message.NewID(), State: "Sign"}, Tx: transfer(from, int64(i+1))}
	}
	return rs
}

func steps(rs []signer.Request) []signer.Step {
	out := make([]signer.Step, len(rs))
	for i, r := range rs {
		out[i] = r.Step
	}
	return out
}

func transactions(rs ...signer.Request) []chain.Unsigned {
	out := make([]chain.Unsigned, len(rs))
	for i, r := range rs {
		out[i] = r.Tx
	}
	return out
}

// sign signs and fails the test on any error.
func (r *room) sign(t testing.TB, k key.Key, rs []signer.Request) []signer.Decision {
	t.Helper()
	decisions, errs := r.signer.Sign(t.Context(), k.ID, rs)
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("sign: %v", err)
	}
	return decisions
}

// decode reads what a node would be sent, independently of the codec.
func decode(t testing.TB, d signer.Decision) *types.Transaction {
	t.Helper()
	var tx types.Transaction
	if err := tx.UnmarshalBinary(d.Signed.Raw); err != nil {
		t.Fatalf("decode %x: %v", d.Signed.Raw, err)
	}
	return &tx
}

func TestSignedTransactionIsWhatWasAsked(t *testing.T) {
	r := newRoom(t)
	k := r.key(t)
	r.chain[k.Address] = 5
	rs := requests(k, 20)
	for i, d := range r.sign(t, k, rs) {
		tx := decode(t, d)
		from, err := types.Sender(types.LatestSignerForChainID(big.NewInt(1337)), tx)
		if err != nil || from.Hex() != k.Address {
			t.Errorf("sender %v, %v; want %s", from, err, k.Address)
		}
		if tx.Nonce() != uint64(5+i) || d.Nonce != tx.Nonce() || tx.Value().Int64() != int64(i+1) || tx.Hash().Hex() != d.Signed.Hash || tx.To().Hex() != rs[i].Tx.To {
			t.Errorf("request %d became %+v with nonce %d", i, d, tx.Nonce())
		}
	}
}

// TestI13RedeliveryGetsTheStoredBytes: whatever is asked the second time, what was decided is answered.
func TestI13RedeliveryGetsTheStoredBytes(t *testing.T) {
	r := newRoom(t)
	k, other := r.key(t), r.key(t)
	rs := requests(k, 4)
	first := r.sign(t, k, rs)
	for restart := range 2 {
		changed := append([]signer.Request(nil), rs...)
		changed[0].Tx.Value = big.NewInt(99) // fees and amounts may have been worked out again
		changed[1].Tx = chain.Unsigned{}     // or not at all
		changed[2].Tx = transfer(other, 3)   // or for another key
		fresh := requests(k, 1)[0]           // among others that are new
		again := r.sign(t, k, append(changed, fresh))
		for i, d := range first {
			if again[i].Signed.Hash != d.Signed.Hash || string(again[i].Signed.Raw) != string(d.Signed.Raw) || again[i].Key != k.ID {
				t.Errorf("request %d: %+v; want %+v", i, again[i], d)
			}
		}
		if want := uint64(4 + restart); again[4].Nonce != want || r.keys.signatures() != 5-4*restart {
			t.Errorf("the new one has nonce %d, %d signatures in this process; want %d, %d", again[4].Nonce, r.keys.signatures(), want, 5-4*restart)
		}
		r.start(t, "signer")
	}
	found, err := r.signer.Find(t.Context(), steps(rs))
	if err != nil || len(found) != 4 || found[rs[3].Step].Signed.Hash != first[3].Signed.Hash {
		t.Errorf("found %v, %v", found, err)
	}
}

// TestUnfitRequestsTakeNoNonce: what cannot be signed fails alone, before it leaves a gap (I12).
func TestUnfitRequestsTakeNoNonce(t *testing.T) {
	r := newRoom(t)
	k, other := r.key(t), r.key(t)
	rs := requests(k, 6)
	rs[0].Tx.From = other.Address
	rs[2].Tx.Chain = "eip155:5"
	rs[3].Tx.To = "nowhere"
	decisions, errs := r.signer.Sign(t.Context(), k.ID, rs)
	nonce := uint64(0)
	for i, err := range errs {
		unfit := i == 0 || i == 2 || i == 3
		if unfit != (err != nil) {
			t.Errorf("request %d: %v", i, err)
		}
		if err == nil {
			if decode(t, decisions[i]).Nonce() != nonce {
				t.Errorf("request %d has nonce %d; want %d", i, decisions[i].Nonce, nonce)
			}
			nonce++
		}
	}
	if !errors.Is(errs[0], signer.ErrMismatch) {
		t.Errorf("another's transaction: %v; want transaction-unfit", errs[0])
	}
	if _, errs := r.signer.Sign(t.Context(), "key_none", requests(k, 1)); !errors.Is(errs[0], key.ErrUnknown) {
		t.Errorf("an unknown key: %v; want key-unknown", errs[0])
	}
	if decisions, errs := r.signer.Sign(t.Context(), k.ID, nil); len(decisions)+len(errs) != 0 {
		t.Errorf("nothing asked: %v, %v", decisions, errs)
	}
}

// TestSenderInAnyNotation: the sender is compared as an address, not as text.
func TestSenderInAnyNotation(t *testing.T) {
	r := newRoom(t)
	k := r.key(t)
	rs := requests(k, 1)
	rs[0].Tx.From = strings.ToLower(k.Address)
	if d := r.sign(t, k, rs)[0]; d.Tx.From != k.Address {
		t.Errorf("decided from %s", d.Tx.From)
	}
}
