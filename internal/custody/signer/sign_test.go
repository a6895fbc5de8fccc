package signer_test

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"path/filepath"
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
	r := &room{folder: t.TempDir(), faults: fault.New(), chain: map[string]uint64{}, close: func() {}}
	r.start(t, "signer")
	t.Cleanup(func() { r.close() })
	return r
}

// start is what a process does at its start; what ran before is gone.
func (r *room) start(t testing.TB, holder string) {
	t.Helper()
	r.close()
	db, err := sqlite.Open(t.Context(), filepath.Join(r.folder, "aval.db"), sqlite.Options{Faults: r.faults})
	if err != nil {
		t.Fatal(err)
	}
	r.close = func() { _ = db.Close() }
	store, err := sealed.Open(sealed.Options{Folder: filepath.Join(r.folder, "keystore"), KeyFile: filepath.Join(r.folder, "kek"), Create: true})
	if err != nil {
		t.Fatal(err)
	}
	r.registry, r.decisions, r.keys = sqlite.NewKeys(db), sqlite.NewDecisions(db), &watched{Store: store}
	r.signer = r.another(holder, 10*time.Second)
}

// another is a second signer on the same registry, decisions and keys.
func (r *room) another(holder string, ttl time.Duration) *signer.Signer {
	nonces := func(_ context.Context, _, address string) (uint64, error) { return r.chain[address], nil }
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
