// Package clientstest is the conformance suite of the client register's port.
package clientstest

import (
	"errors"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/avalhq/aval/internal/clients"
	"github.com/avalhq/aval/internal/conform"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/typeid"
)

// Subject is what the suite tests. Each test gets one of its own, empty.
type Subject struct {
	clients.Store
	Faults *fault.Points              // strikes at clients.put and clients.change
	Reopen func(t *testing.T) Subject // the same data in a new Store, after the old one was closed
}

// Run runs the suite.
func Run(t *testing.T, open func(t *testing.T) Subject) {
	conform.Suite[Subject]{
		Cases: map[string]func(*testing.T, Subject){
			"basic/what was put is found by id and signer":              found,
			"basic/a put replaces name, signers and disabled":           replaced,
			"basic/what is not there is unknown":                        unknown,
			"basic/a signer belongs to one client":                      signerTaken,
			"transactions/a change is one transaction":                  changed,
			"concurrency/concurrent changes are all kept":               changes,
			"concurrency/of many at once with one signer one is put":    once,
			"concurrency/readers beside a writer see what was put last": readers,
			"basic/what was read belongs to the reader":                 owned,
			"faults/a failed write changes nothing":                     failed,
			"faults/a write reported as failed is seen when stored":     reportedFailed,
		},
	}.Run(t, open)
}

// created is whole microseconds: that much every backend keeps.
var created = time.Date(2026, 5, 6, 7, 8, 9, 123456000, time.UTC)

func fresh(name string, signers ...byte) clients.Client {
	return clients.Client{ID: typeid.New(clients.Prefix), Name: name, Signers: addresses(signers...), Created: created}
}

func addresses(last ...byte) (out []common.Address) {
	for _, b := range last {
		out = append(out, common.BytesToAddress([]byte{b}))
	}
	return out
}

func found(t *testing.T, s Subject) {
	a, b := fresh("a", 3, 1, 2), fresh("b", 4)
	b.Disabled = true
	s.put(t, b, a)
	for range 2 {
		s.want(t, a, b)
		s.want(t, a, b) // and again, for those who remember
		s = s.Reopen(t)
	}
}

func replaced(t *testing.T, s Subject) {
	a, b := fresh("a", 1, 2), fresh("b", 3)
	s.put(t, a, b)
	s.want(t, a, b)
	a.Name, a.Signers, a.Disabled = "other", addresses(2, 5), true
	later := a
	later.Created = created.Add(time.Hour) // has no effect
	s.put(t, later)
	s.want(t, a, b)
	b.Signers = addresses(1) // free again
	s.put(t, b)
	s.want(t, a, b)
}

func unknown(t *testing.T, s Subject) {
	s.put(t, fresh("a", 1))
	_, byID := s.Get(t.Context(), "cli_none")
	_, change := s.Change(t.Context(), "cli_none", func(*clients.Client) error { return errors.New("called for nobody") })
	for i, err := range []error{byID, change} {
		if !errors.Is(err, clients.ErrUnknown) {
			t.Errorf("look-up %d answered %v, want ErrUnknown", i, err)
		}
	}
	b := fresh("b", 2)
	if _, err := s.Get(t.Context(), b.ID); !errors.Is(err, clients.ErrUnknown) {
		t.Errorf("before the put: %v", err)
	}
	s.put(t, b)
	if _, err := s.Get(t.Context(), b.ID); err != nil {
		t.Errorf("that it was not there is still remembered: %v", err)
	}
}

func signerTaken(t *testing.T, s Subject) {
	a, b := fresh("a", 1, 2), fresh("b", 3)
	s.put(t, a, b)
	thief := b
	thief.Name, thief.Signers = "thief", addresses(4, 2)
	if err := s.Put(t.Context(), thief); !errors.Is(err, clients.ErrSignerTaken) {
		t.Errorf("an update answered %v, want ErrSignerTaken", err)
	}
	if err := s.Put(t.Context(), fresh("c", 1)); !errors.Is(err, clients.ErrSignerTaken) {
		t.Errorf("a new client answered %v, want ErrSignerTaken", err)
	}
	if _, err := s.Change(t.Context(), b.ID, func(c *clients.Client) error {
		c.Name, c.Signers = "thief", addresses(1)
		return nil
	}); !errors.Is(err, clients.ErrSignerTaken) {
		t.Errorf("a change answered %v, want ErrSignerTaken", err)
	}
	s.want(t, a, b) // nothing has changed, and there is no c
}

func changed(t *testing.T, s Subject) {
	a := fresh("a", 1)
	s.put(t, a)
	got, err := s.Change(t.Context(), a.ID, func(c *clients.Client) error {
		c.Disabled = true
		c.Signers = append(c.Signers, addresses(7)...)
		c.ID = "cli_other" // has no effect
		return nil
	})
	a.Disabled, a.Signers = true, addresses(1, 7)
	if err != nil || !reflect.DeepEqual(got, a) {
		t.Errorf("the change answered %+v, %v, want %+v", got, err, a)
	}
	s.want(t, a)
	no := errors.New("no")
	if _, err := s.Change(t.Context(), a.ID, func(c *clients.Client) error {
		c.Name = "b"
		return no
	}); !errors.Is(err, no) {
		t.Errorf("the change answered %v, want the function's own error", err)
	}
	s.want(t, a)
}

func changes(t *testing.T, s Subject) {
	a := fresh("a", 1)
	s.put(t, a)
	var wg sync.WaitGroup
	for i := range byte(20) {
		wg.Go(func() {
			if _, err := s.Change(t.Context(), a.ID, func(c *clients.Client) error {
				c.Signers = append(c.Signers, addresses(100+i)...)
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got, err := s.Get(t.Context(), a.ID); err != nil || len(got.Signers) != 21 {
		t.Errorf("after 20 additions there are %d signers (%v), want 21", len(got.Signers), err)
	}
}

func once(t *testing.T, s Subject) {
	won := make([]bool, 20)
	var wg sync.WaitGroup
	for i := range won {
		wg.Go(func() {
			err := s.Put(t.Context(), fresh("a", 1))
			if won[i] = err == nil; err != nil && !errors.Is(err, clients.ErrSignerTaken) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	first := slices.Index(won, true)
	if first < 0 || slices.Contains(won[first+1:], true) {
		t.Errorf("won: %v, want exactly one", won)
	}
	if list, err := s.List(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("there are %d clients (%v), want 1", len(list), err)
	}
}

// readers looks for an answer that is older than a Put that had returned before the question.
func readers(t *testing.T, s Subject) {
	a := fresh("a", 1)
	s.put(t, a)
	var mu sync.Mutex
	stored := 1 // number of signers in the last Put that returned
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				mu.Lock()
				least := stored
				mu.Unlock()
				if got, err := s.Get(t.Context(), a.ID); err != nil || len(got.Signers) < least {
					t.Errorf("read %d signers (%v), %d had been stored", len(got.Signers), err, least)
					return
				}
			}
		})
	}
	for i := range byte(50) {
		a.Signers = append(a.Signers, addresses(100+i)...)
		s.put(t, a)
		mu.Lock()
		stored = len(a.Signers)
		mu.Unlock()
	}
	close(stop)
	wg.Wait()
}

func owned(t *testing.T, s Subject) {
	a := fresh("a", 1, 2)
	s.put(t, a)
	for range 3 {
		got, err := s.Get(t.Context(), a.ID)
		if err != nil || !reflect.DeepEqual(got, a) {
			t.Fatalf("read %+v (%v), want %+v", got, err, a)
		}
		got.Signers[0], got.Name = common.Address{9}, "mine"
	}
}

func failed(t *testing.T, s Subject) {
	a := fresh("a", 1)
	s.put(t, a)
	s.want(t, a)
	disabled := a
	disabled.Disabled = true
	s.Faults.Arm("clients.put.before", fault.Fail, 1)
	if err := s.Put(t.Context(), disabled); !errors.Is(err, fault.ErrInjected) {
		t.Fatalf("put answered %v, want the injected fault", err)
	}
	s.want(t, a)
	s.Faults.Arm("clients.change.before", fault.Fail, 1)
	if _, err := s.Change(t.Context(), a.ID, disable); !errors.Is(err, fault.ErrInjected) {
		t.Fatalf("change answered %v, want the injected fault", err)
	}
	s.want(t, a)
	s.Reopen(t).want(t, a)
}

func reportedFailed(t *testing.T, s Subject) {
	a := fresh("a", 1)
	s.put(t, a)
	s.want(t, a)
	a.Name = "b"
	s.Faults.Arm("clients.put.after", fault.Fail, 1)
	if err := s.Put(t.Context(), a); !errors.Is(err, fault.ErrInjected) {
		t.Fatalf("put answered %v, want the injected fault", err)
	}
	s.want(t, a)
	a.Disabled = true
	s.Faults.Arm("clients.change.after", fault.Fail, 1)
	if _, err := s.Change(t.Context(), a.ID, disable); !errors.Is(err, fault.ErrInjected) {
		t.Fatalf("change answered %v, want the injected fault", err)
	}
	s.want(t, a)
	s.Reopen(t).want(t, a)
}

func disable(c *clients.Client) error {
	c.Disabled = true
	return nil
}

func (s Subject) put(t *testing.T, cs ...clients.Client) {
	t.Helper()
	for _, c := range cs {
		if err := s.Put(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
}

// want looks all clients up in every way; they are in the order of their ids.
func (s Subject) want(t *testing.T, want ...clients.Client) {
	t.Helper()
	for _, c := range want {
		if got, err := s.Get(t.Context(), c.ID); err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("read %+v (%v), want %+v", got, err, c)
		}
	}
	if list, err := s.List(t.Context()); err != nil || !reflect.DeepEqual(list, want) {
		t.Errorf("the list is %+v (%v), want %+v", list, err, want)
	}
}
