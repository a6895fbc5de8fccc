// Package wallettest is the conformance suite of the wallet inventory's port.
package wallettest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/conform"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/typeid"
	"github.com/avalhq/aval/internal/wallet"
)

// Subject is what the suite tests. Each test gets one of its own, empty.
type Subject struct {
	wallet.Store
	Faults *fault.Points              // strikes at wallets.add
	Reopen func(t *testing.T) Subject // the same data in a new Store, after the old one was closed
}

// Run runs the suite.
func Run(t *testing.T, open func(t *testing.T) Subject) {
	conform.Suite[Subject]{
		Cases: map[string]func(*testing.T, Subject){
			"basic/what was added is found by id, name and address":  found,
			"basic/what is not there is unknown":                     unknown,
			"transactions/id, name and address are unique":           unique,
			"basic/lists are by creation, page by page":              listed,
			"concurrency/of many at once with one name one is added": once,
			"faults/a failed add leaves nothing":                     failed,
			"faults/an add reported as failed is found":              reportedFailed,
		},
	}.Run(t, open)
}

// created is whole microseconds: that much every backend keeps.
var created = time.Date(2026, 5, 6, 7, 8, 9, 123456000, time.UTC)

func fresh(owner, name string) wallet.Wallet {
	id := typeid.New(wallet.Prefix)
	return wallet.Wallet{ID: id, Owner: owner, Name: name, Chain: "eip155:1", Address: "0x" + id, Key: "key_" + id, Created: created}
}

func found(t *testing.T, s Subject) {
	w, other := fresh("cli_a", "main"), fresh("cli_b", "main")
	s.add(t, w, other)
	s.wantAll(t, w)
	s.wantAll(t, other)
	s = s.Reopen(t)
	s.wantAll(t, w)
	s.wantAll(t, other)
}

func unknown(t *testing.T, s Subject) {
	w := fresh("cli_a", "main")
	s.add(t, w)
	_, byID := s.Get(t.Context(), "wal_none")
	_, noName := s.Named(t.Context(), "cli_a", "Main")
	_, otherOwner := s.Named(t.Context(), "cli_b", "main")
	for i, err := range []error{byID, noName, otherOwner} {
		if !errors.Is(err, wallet.ErrUnknown) {
			t.Errorf("look-up %d answered %v, want ErrUnknown", i, err)
		}
	}
}

func unique(t *testing.T, s Subject) {
	w := fresh("cli_a", "main")
	s.add(t, w)
	id, name, address := fresh("cli_a", "b"), fresh("cli_a", "main"), fresh("cli_b", "c")
	id.ID, address.Address = w.ID, w.Address
	for i, twin := range []wallet.Wallet{w, id, name, address} {
		if err := s.Add(t.Context(), twin); !errors.Is(err, wallet.ErrExists) {
			t.Errorf("twin %d: %v, want ErrExists", i, err)
		}
	}
	s.wantAll(t, w)
	onAnotherChain := fresh("cli_b", "d")
	onAnotherChain.Address, onAnotherChain.Chain = w.Address, "eip155:2"
	s.add(t, onAnotherChain)
	s.wantAll(t, onAnotherChain)
}

func listed(t *testing.T, s Subject) {
	var all, mine []wallet.Wallet
	for i := range 10 {
		w := fresh([]string{"cli_a", "cli_b"}[i%2], fmt.Sprint("w", i))
		all = append(all, w)
		if i%2 == 0 {
			mine = append(mine, w)
		}
	}
	for _, i := range []int{3, 0, 9, 4, 1, 7, 2, 8, 6, 5} { // not in the order of creation
		s.add(t, all[i])
	}
	for owner, want := range map[string][]wallet.Wallet{"": all, "cli_a": mine, "cli_none": nil} {
		var got []wallet.Wallet
		cursor := ""
		for {
			page, err := s.List(t.Context(), owner, cursor, 3)
			if err != nil || len(page) > 3 {
				t.Fatalf("list after %q: %d wallets, %v", cursor, len(page), err)
			}
			if got = append(got, page...); len(page) < 3 {
				break
			}
			cursor = page[2].ID
		}
		if !slices.Equal(got, want) {
			t.Errorf("the wallets of %q are %v, want %v", owner, got, want)
		}
	}
}

func once(t *testing.T, s Subject) {
	won := make([]bool, 20)
	all := make([]wallet.Wallet, len(won))
	var wg sync.WaitGroup
	for i := range won {
		all[i] = fresh("cli_a", "main")
		wg.Go(func() {
			err := s.Add(t.Context(), all[i])
			if won[i] = err == nil; err != nil && !errors.Is(err, wallet.ErrExists) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	first := slices.Index(won, true)
	if first < 0 || slices.Contains(won[first+1:], true) {
		t.Fatalf("won: %v, want exactly one", won)
	}
	s.wantAll(t, all[first])
}

func failed(t *testing.T, s Subject) {
	w := fresh("cli_a", "main")
	s.Faults.Arm("wallets.add.before", fault.Fail, 1)
	if err := s.Add(t.Context(), w); !errors.Is(err, fault.ErrInjected) {
		t.Fatalf("add answered %v, want the injected fault", err)
	}
	s = s.Reopen(t)
	if _, err := s.Get(t.Context(), w.ID); !errors.Is(err, wallet.ErrUnknown) {
		t.Errorf("it is there (%v)", err)
	}
	s.add(t, w)
	s.wantAll(t, w)
}

func reportedFailed(t *testing.T, s Subject) {
	w := fresh("cli_a", "main")
	s.Faults.Arm("wallets.add.after", fault.Fail, 1)
	if err := s.Add(t.Context(), w); !errors.Is(err, fault.ErrInjected) {
		t.Fatalf("add answered %v, want the injected fault", err)
	}
	s = s.Reopen(t)
	s.wantAll(t, w)
	if err := s.Add(t.Context(), w); !errors.Is(err, wallet.ErrExists) {
		t.Errorf("the repetition answered %v, want ErrExists", err)
	}
}

func (s Subject) add(t *testing.T, ws ...wallet.Wallet) {
	t.Helper()
	for _, w := range ws {
		if err := s.Add(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
}

// wantAll looks a wallet up in every way.
func (s Subject) wantAll(t *testing.T, want wallet.Wallet) {
	t.Helper()
	byID, err1 := s.Get(t.Context(), want.ID)
	byName, err2 := s.Named(t.Context(), want.Owner, want.Name)
	if err := errors.Join(err1, err2); err != nil || byID != want || byName != want {
		t.Errorf("found %+v, %+v (%v), want %+v", byID, byName, err, want)
	}
}
