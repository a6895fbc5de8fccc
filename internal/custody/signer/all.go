package signer

import (
	"context"
	"sync"

	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/problem"
)

// SignAll signs requests, each with its own key: those of one key in order, the keys side by side.
func (s *Signer) SignAll(ctx context.Context, requests []Request) ([]Decision, []error) {
	decisions, errs := make([]Decision, len(requests)), make([]error, len(requests))
	var all sync.WaitGroup
	for with, which := range byKey(requests) {
		all.Go(func() { s.signSome(ctx, with, requests, which, decisions, errs) })
	}
	all.Wait()
	return decisions, errs
}

// Waits is true: a key is leased before anything is signed with it.
func (s *Signer) Waits() bool { return true }

// Asked is for a Signer that is elsewhere: this one answers at once, so nothing that it was asked waits.
func (s *Signer) Asked(context.Context, []Step) (map[Step]error, error) { return nil, nil }

// Withdraw has nothing to give up, for the same reason.
func (s *Signer) Withdraw(context.Context, []Step, error) error { return nil }

// byKey groups requests by the lease that they need.
func byKey(requests []Request) map[key.Request][]int {
	groups := map[key.Request][]int{}
	for i := range requests {
		with := key.Request{Key: requests[i].Key}
		if with.Key == "" {
			with = key.Request{Chain: requests[i].Tx.Chain, Pool: requests[i].Pool}
		}
		groups[with] = append(groups[with], i)
	}
	return groups
}

// signSome signs those requests under one lease. What panics fails them alone (I18).
func (s *Signer) signSome(ctx context.Context, with key.Request, requests []Request, which []int, decisions []Decision, errs []error) {
	defer func() {
		if r := recover(); r != nil {
			for _, i := range which {
				errs[i] = problem.New(problem.Internal, "signing-failed", "signing with the key %s failed unexpectedly: %v", with.Key, r)
			}
		}
	}()
	some := make([]Request, len(which))
	for n, i := range which {
		some[n] = requests[i]
	}
	signed, failures := s.sign(ctx, with, some)
	for n, i := range which {
		decisions[i], errs[i] = signed[n], failures[n]
	}
}
