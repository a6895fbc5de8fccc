package wallet_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/big"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/typeid"
	"github.com/avalhq/aval/internal/wallet"
	"github.com/avalhq/aval/internal/wallet/wallettest"
)

// shelf is a Store in memory; it runs the suite too.
type shelf struct {
	mu     sync.Mutex
	held   []wallet.Wallet
	faults *fault.Points
}

func (s *shelf) Add(_ context.Context, w wallet.Wallet) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.faults.Hit("wallets.add.before"); err != nil {
		return err
	}
	for _, h := range s.held {
		if h.ID == w.ID || h.Owner == w.Owner && h.Name == w.Name || h.Chain == w.Chain && h.Address == w.Address {
			return wallet.ErrExists
		}
	}
	s.held = append(s.held, w)
	slices.SortFunc(s.held, func(a, b wallet.Wallet) int { return cmp.Compare(a.ID, b.ID) })
	return s.faults.Hit("wallets.add.after")
}

func (s *shelf) find(is func(wallet.Wallet) bool) (wallet.Wallet, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.IndexFunc(s.held, is); i >= 0 {
		return s.held[i], nil
	}
	return wallet.Wallet{}, wallet.ErrUnknown
}

func (s *shelf) Get(_ context.Context, id string) (wallet.Wallet, error) {
	return s.find(func(w wallet.Wallet) bool { return w.ID == id })
}

func (s *shelf) Named(_ context.Context, owner, name string) (wallet.Wallet, error) {
	return s.find(func(w wallet.Wallet) bool { return w.Owner == owner && w.Name == name })
}

func (s *shelf) List(_ context.Context, owner, cursor string, limit int) (page []wallet.Wallet, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.held {
		if (owner == "" || w.Owner == owner) && w.ID > cursor && len(page) < limit {
			page = append(page, w)
		}
	}
	return page, nil
}

// smith makes keys and counts them.
type smith struct {
	mu   sync.Mutex
	made int
	fail error
}

func (k *smith) CreateKey(_ context.Context, chain, pool string) (key.Key, error) {
	for range 1000 {
		runtime.Gosched() // a key takes time: whoever does not wait for it comes by here
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fail != nil {
		return key.Key{}, k.fail
	}
	k.made++
	return key.Key{ID: fmt.Sprint("key_", k.made), Chain: chain, Address: fmt.Sprint("0x", k.made), Pool: pool}, nil
}

// net is a chain on which everyone has 7 coins and 9 tokens, and addresses are lower case.
type net struct {
	chain.Network
	chain.Codec
	asked []string
}

func (n *net) Account(_ context.Context, address string) (chain.Account, error) {
	n.asked = append(n.asked, address)
	return chain.Account{Balance: big.NewInt(7)}, nil
}

func (n *net) Token(_ context.Context, contract, address string) (*big.Int, error) {
	n.asked = append(n.asked, contract, address)
	return big.NewInt(9), nil
}

func (n *net) Address(s string) (string, error) {
	if !strings.HasPrefix(s, "0x") {
		return "", problem.New(problem.Invalid, "address-malformed", "not an address")
	}
	return strings.ToLower(s), nil
}

var now = time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)

func open() (*wallet.Service, *shelf, *smith, *net) {
	s, k, n := &shelf{}, &smith{}, &net{}
	chains := map[string]wallet.Chain{"eip155:1": {Network: n, Codec: n}, "eip155:2": {Network: n, Codec: n}}
	return wallet.NewService(s, k, chains, func() time.Time { return now }), s, k, n
}

func create(t *testing.T, s *wallet.Service, owner, name string) wallet.Wallet {
	t.Helper()
	w, err := s.Create(t.Context(), owner, "eip155:1", name)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestCreateIsIdempotentByOwnerAndName(t *testing.T) {
	s, _, keys, _ := open()
	w := create(t, s, "cli_a", "main")
	if _, err := typeid.Parse("wal", w.ID); err != nil {
		t.Error(err)
	}
	want := wallet.Wallet{ID: w.ID, Owner: "cli_a", Name: "main", Chain: "eip155:1", Address: "0x1", Key: "key_1", Created: now}
	if w != want || create(t, s, "cli_a", "main") != want || keys.made != 1 {
		t.Errorf("created %+v with %d keys", w, keys.made)
	}
	if other := create(t, s, "cli_b", "main"); other.ID == w.ID || other.Address == w.Address {
		t.Error("two owners share a wallet because they like the same name")
	}
	_, err := s.Create(t.Context(), "cli_a", "eip155:2", "main")
	wantCode(t, err, "wallet-name-taken")
	if keys.made != 2 {
		t.Errorf("%d keys were made for 2 wallets", keys.made)
	}
}

func TestCreateOfManyAtOnceMakesOneKey(t *testing.T) {
	s, _, keys, _ := open()
	got := make([]wallet.Wallet, 30)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() { got[i] = create(t, s, "cli_a", "main") })
	}
	wg.Wait()
	for _, w := range got {
		if w != got[0] {
			t.Fatalf("one got %+v, another %+v", got[0], w)
		}
	}
	if keys.made != 1 {
		t.Errorf("%d keys were made", keys.made)
	}
}

// quick is a Store on which another process adds the same wallet in the last moment.
type quick struct {
	*shelf
	before wallet.Wallet
}

func (q *quick) Add(ctx context.Context, w wallet.Wallet) error {
	return errors.Join(q.shelf.Add(ctx, q.before), q.shelf.Add(ctx, w))
}

func TestCreateYieldsToAFasterProcess(t *testing.T) {
	_, store, keys, n := open()
	first := wallet.Wallet{ID: "wal_first", Owner: "cli_a", Name: "main", Chain: "eip155:1", Address: "0xff"}
	s := wallet.NewService(&quick{store, first}, keys, map[string]wallet.Chain{"eip155:1": {Network: n, Codec: n}}, time.Now)
	if w := create(t, s, "cli_a", "main"); w != first {
		t.Errorf("created %+v, want the one that was there first", w)
	}
}

func TestCreateRefusals(t *testing.T) {
	s, store, keys, _ := open()
	for _, test := range []struct{ owner, chain, name, code string }{
		{"", "eip155:1", "main", "wallet-owner-missing"},
		{"cli_a", "eip155:9", "main", "chain-unknown"},
		{"cli_a", "eip155:1", "", "wallet-name-invalid"},
		{"cli_a", "eip155:1", " main", "wallet-name-invalid"},
		{"cli_a", "eip155:1", "ma\x00in", "wallet-name-invalid"},
		{"cli_a", "eip155:1", strings.Repeat("x", 81), "wallet-name-invalid"},
	} {
		_, err := s.Create(t.Context(), test.owner, test.chain, test.name)
		wantCode(t, err, test.code)
	}
	keys.fail = problem.New(problem.Unavailable, "keystore-locked", "the key store is locked")
	_, err := s.Create(t.Context(), "cli_a", "eip155:1", "main")
	wantCode(t, err, "keystore-locked")
	if len(store.held) != 0 || keys.made != 0 {
		t.Errorf("something was made: %v, %d keys", store.held, keys.made)
	}
}

func TestListByPages(t *testing.T) {
	s, _, _, _ := open()
	var all []wallet.Wallet
	for i := range 60 {
		all = append(all, create(t, s, "cli_a", fmt.Sprint("w", i)))
	}
	create(t, s, "cli_b", "w")
	first, err := s.List(t.Context(), "cli_a", "", 0)
	if err != nil || !slices.Equal(first, all[:wallet.DefaultLimit]) {
		t.Errorf("the first page has %d wallets, %v", len(first), err)
	}
	rest, err := s.List(t.Context(), "cli_a", first[len(first)-1].ID, 500)
	if err != nil || !slices.Equal(rest, all[wallet.DefaultLimit:]) {
		t.Errorf("the second page has %d wallets, %v", len(rest), err)
	}
	for _, limit := range []int{-1, 501} {
		_, err = s.List(t.Context(), "", "", limit)
		wantCode(t, err, "limit-out-of-range")
	}
	_, err = s.List(t.Context(), "", "w3", 0)
	wantCode(t, err, "cursor-malformed")
}

func TestBalance(t *testing.T) {
	s, _, _, n := open()
	w := create(t, s, "cli_a", "main")
	for asset, want := range map[string]int64{"native": 7, "erc20:0xABCD": 9} {
		if got, err := s.Balance(t.Context(), w.ID, asset); err != nil || got.Int64() != want {
			t.Errorf("%s: %v, %v, want %d", asset, got, err, want)
		}
	}
	slices.Sort(n.asked)
	if !slices.Equal(n.asked, []string{"0x1", "0x1", "0xabcd"}) {
		t.Errorf("the chain was asked for %v", n.asked)
	}
	for asset, code := range map[string]string{"": "asset-unknown", "gold": "asset-unknown", "erc20:": "address-malformed", "erc20:xyz": "address-malformed"} {
		_, err := s.Balance(t.Context(), w.ID, asset)
		wantCode(t, err, code)
	}
	_, err := s.Balance(t.Context(), "wal_none", "native")
	wantCode(t, err, "wallet-unknown")
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	var p *problem.Error
	if !errors.As(err, &p) || p.Code != code {
		t.Errorf("the answer is %v, want %s", err, code)
	}
}

func TestShelf(t *testing.T) {
	wallettest.Run(t, func(*testing.T) wallettest.Subject {
		subject := wallettest.Subject{Faults: fault.New()}
		subject.Store = &shelf{faults: subject.Faults}
		subject.Reopen = func(*testing.T) wallettest.Subject { return subject }
		return subject
	})
}
