package wallet

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/big"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/typeid"
)

// Prefix is what every wallet id starts with.
const Prefix = "wal"

// The bounds of a list and of a name.
const (
	DefaultLimit = 50
	MaxLimit     = 500
	maxName      = 80
)

// KeyMaker makes signing keys in custody. Pool "" binds the key to a wallet.
type KeyMaker interface {
	CreateKey(ctx context.Context, chain, pool string) (key.Key, error)
}

// Chain is what the service needs of a chain that it has wallets on.
type Chain struct {
	Network chain.Network
	Codec   chain.Codec
}

// Service makes wallets and tells of them. It is safe for concurrent use.
type Service struct {
	store  Store
	keys   KeyMaker
	chains map[string]Chain // by CAIP-2 id
	now    func() time.Time

	seed    maphash.Seed
	creates [64]sync.Mutex // by owner and name: keys are not made in vain for creations that race
	known   known
}

// NewService serves the wallets of store on the chains given.
func NewService(store Store, keys KeyMaker, chains map[string]Chain, now func() time.Time) *Service {
	return &Service{store: store, keys: keys, chains: chains, now: now, seed: maphash.MakeSeed()}
}

// Create makes a wallet with a key of its own. The same owner and name again give the wallet that there is; on another
// chain that is wallet-name-taken. A crash half way leaves at most a key that belongs to no wallet and holds nothing.
func (s *Service) Create(ctx context.Context, owner, chainID, name string) (Wallet, error) {
	if err := s.check(owner, chainID, name); err != nil {
		return Wallet{}, err
	}
	turn := &s.creates[maphash.String(s.seed, owner+"\x00"+name)%uint64(len(s.creates))]
	turn.Lock()
	defer turn.Unlock()
	w, err := s.existing(ctx, owner, chainID, name)
	if !errors.Is(err, ErrUnknown) {
		return w, err
	}
	k, err := s.keys.CreateKey(ctx, chainID, "")
	if err != nil {
		return Wallet{}, fmt.Errorf("make a key for the wallet %q: %w", name, err)
	}
	w = Wallet{
		ID: typeid.New(Prefix), Owner: owner, Name: name, Chain: chainID, Address: k.Address, Key: k.ID,
		Created: s.now().UTC().Truncate(time.Microsecond),
	}
	if err = s.store.Add(ctx, w); errors.Is(err, ErrExists) { // another process was faster
		return s.existing(ctx, owner, chainID, name)
	}
	return w, err
}

func (s *Service) existing(ctx context.Context, owner, chainID, name string) (Wallet, error) {
	w, err := s.store.Named(ctx, owner, name)
	if err == nil && w.Chain != chainID {
		return Wallet{}, problem.New(problem.Conflict, "wallet-name-taken", "the wallet %q is on chain %s; choose another name for one on %s", name, w.Chain, chainID)
	}
	return w, err
}

func (s *Service) check(owner, chainID, name string) error {
	if owner == "" {
		return problem.New(problem.Invalid, "wallet-owner-missing", "a wallet needs an owner; name the client that it is for")
	}
	if n := utf8.RuneCountInString(name); n < 1 || n > maxName || !utf8.ValidString(name) || strings.TrimSpace(name) != name || strings.ContainsFunc(name, unicode.IsControl) {
		return problem.New(problem.Invalid, "wallet-name-invalid", "a wallet's name has 1 to %d characters, no control characters, and no space at its ends", maxName)
	}
	_, err := s.chain(chainID)
	return err
}

func (s *Service) chain(id string) (Chain, error) {
	c, ok := s.chains[id]
	if !ok {
		return c, problem.New(problem.Invalid, "chain-unknown", "this installation serves no chain of that id; chains are named by their CAIP-2 id, like eip155:1337")
	}
	return c, nil
}

// Get reads a wallet by id, whoever owns it.
func (s *Service) Get(ctx context.Context, id string) (Wallet, error) {
	if w, found := s.known.get(id); found {
		return w, nil
	}
	w, err := s.store.Get(ctx, id)
	if err == nil {
		s.known.put(w)
	}
	return w, err
}

// List gives an owner's wallets, all for "", by creation: at most limit (0 means 50) after the wallet in cursor.
func (s *Service) List(ctx context.Context, owner, cursor string, limit int) ([]Wallet, error) {
	if limit == 0 {
		limit = DefaultLimit
	}
	if limit < 1 || limit > MaxLimit {
		return nil, problem.New(problem.Invalid, "limit-out-of-range", "a list gives 1 to %d wallets at once; ask for so many", MaxLimit)
	}
	if _, err := typeid.Parse(Prefix, cursor); cursor != "" && err != nil {
		return nil, problem.New(problem.Invalid, "cursor-malformed", "the cursor is not one that a list has given; begin again without a cursor")
	}
	return s.store.List(ctx, owner, cursor, limit)
}

// Balance asks the chain what a wallet holds, in the asset's smallest unit. The asset is "native" or "erc20:" and the
// contract's address.
func (s *Service) Balance(ctx context.Context, id, asset string) (*big.Int, error) {
	w, err := s.store.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	c, err := s.chain(w.Chain)
	if err != nil {
		return nil, err
	}
	if asset == "native" {
		account, err := c.Network.Account(ctx, w.Address)
		return account.Balance, err
	}
	contract, ok := strings.CutPrefix(asset, "erc20:")
	if !ok {
		return nil, problem.New(problem.Invalid, "asset-unknown", "an asset is \"native\" or \"erc20:\" and the address of a token's contract")
	}
	if contract, err = c.Codec.Address(contract); err != nil {
		return nil, err
	}
	return c.Network.Token(ctx, contract, w.Address)
}
