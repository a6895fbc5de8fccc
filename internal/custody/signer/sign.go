package signer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/keystore"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/problem"
)

// Request asks for one transaction to be signed: by the key whose id it names, or by the least recently used key of a pool.
type Request struct {
	Step  Step
	Tx    chain.Unsigned // From is left out with a pool: it is the address of the key that the lease gives
	Key   string
	Pool  string
	Until time.Time // nothing is decided for it afterwards; zero: for ever
}

// Codecs finds the transaction format of a chain by its CAIP-2 id.
type Codecs func(chain string) (chain.Codec, error)

// Accounts asks a chain how many transactions of an address are mined, and how many wait.
type Accounts func(ctx context.Context, chain, address string) (chain.Account, error)

// Options of a Signer.
type Options struct {
	Holder  string        // names process and worker in leases, "controller-1/sign"; "" means "signer"
	TTL     time.Duration // of a lease; 0 means 30 s. A batch that takes longer is decided once and for all or not at all
	Wait    time.Duration // for a key that is in use; 0 means for as long as the caller does
	Workers int           // signatures at once; 0 means one a core
	Faults  *fault.Points // nil in production; hit: signer.sign.before, signer.sign.after
	Log     *slog.Logger  // nil logs nothing
}

// Signer signs with the keys of a registry. It is safe for concurrent use; batches of one key follow one another.
type Signer struct {
	registry  key.Registry
	decisions Decisions
	keys      keystore.Store
	codec     Codecs
	account   Accounts
	options   Options
	compared  sync.Map // ids of the keys that this Signer has compared with their chain
}

// New makes a Signer of its ports.
func New(registry key.Registry, decisions Decisions, keys keystore.Store, codec Codecs, account Accounts, options Options) *Signer {
	if options.Holder == "" {
		options.Holder = "signer"
	}
	if options.TTL <= 0 {
		options.TTL = 30 * time.Second
	}
	if options.Workers <= 0 {
		options.Workers = runtime.GOMAXPROCS(0)
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	return &Signer{registry: registry, decisions: decisions, keys: keys, codec: codec, account: account, options: options}
}

// Find gives the decisions of those steps that have one. A step with a decision needs no transaction built again: Sign
// answers it from what was decided.
func (s *Signer) Find(ctx context.Context, steps []Step) (map[Step]Decision, error) {
	return s.decisions.Find(ctx, steps)
}

// Sign signs each request once, with consecutive nonces of the key, in order. It answers one decision or error a request.
// What was decided before keeps its key, transaction and bytes, whatever the request says. On an error the outcome may be
// that the step is decided and even signed: the same request again finds out.
func (s *Signer) Sign(ctx context.Context, keyID string, requests []Request) ([]Decision, []error) {
	return s.sign(ctx, key.Request{Key: keyID}, requests)
}

// sign is Sign with the key that a lease for this gives.
func (s *Signer) sign(ctx context.Context, with key.Request, requests []Request) ([]Decision, []error) {
	j := newJob(requests)
	s.recall(ctx, j)
	s.rehearse(j)
	if todo := j.open(); len(todo) > 0 {
		s.leased(ctx, with, j, todo)
	} else {
		s.complete(ctx, j)
	}
	return j.decisions, j.errs
}

// job is one call of Sign.
type job struct {
	requests  []Request
	decisions []Decision
	errs      []error
	decided   []bool
}

func newJob(requests []Request) *job {
	n := len(requests)
	return &job{requests: requests, decisions: make([]Decision, n), errs: make([]error, n), decided: make([]bool, n)}
}

// open is the requests that have neither decision nor error.
func (j *job) open() (todo []int) {
	for i := range j.requests {
		if !j.decided[i] && j.errs[i] == nil {
			todo = append(todo, i)
		}
	}
	return todo
}

func (j *job) steps(of []int) []Step {
	steps := make([]Step, len(of))
	for n, i := range of {
		steps[n] = j.requests[i].Step
	}
	return steps
}

func (j *job) fail(of []int, err error) {
	for _, i := range of {
		j.errs[i] = err
	}
}

// recall takes over what is decided already.
func (s *Signer) recall(ctx context.Context, j *job) {
	todo := j.open()
	found, err := s.decisions.Find(ctx, j.steps(todo))
	if err != nil {
		j.fail(todo, fmt.Errorf("look up what was decided: %w", err))
		return
	}
	for _, i := range todo {
		if d, ok := found[j.requests[i].Step]; ok {
			j.decisions[i], j.decided[i] = d, true
		}
	}
}

// rehearse refuses what could not be signed, before it takes a nonce and leaves a gap (I12).
func (s *Signer) rehearse(j *job) {
	for _, i := range j.open() {
		tx := j.requests[i].Tx
		codec, err := s.codec(tx.Chain)
		if tx.From == "" {
			tx.From = tx.To // the lease gives the sender, which is no part of what is signed
		}
		if err == nil {
			_, err = codec.Digest(tx, 0)
		}
		j.errs[i] = err
	}
}

// leased decides and signs under a lease.
func (s *Signer) leased(ctx context.Context, with key.Request, j *job, todo []int) {
	lease, err := s.lease(ctx, with)
	if err != nil {
		j.fail(todo, err)
		s.complete(ctx, j)
		return
	}
	defer s.release(ctx, lease)
	s.decide(ctx, lease, j, todo)
	s.complete(ctx, j)
}

// lease takes the key. One that is quarantined (I10), or that this Signer uses for the first time, is compared with the chain
// first: a data folder that was restored from an older copy has forgotten decisions, and would decide them anew with other
// nonces (I5). Once is enough: a copy is not restored under a running process.
func (s *Signer) lease(ctx context.Context, with key.Request) (key.Lease, error) {
	with.Holder, with.TTL = s.options.Holder, s.options.TTL
	lease, err := s.grant(ctx, with)
	if errors.Is(err, key.ErrQuarantined) && with.Key != "" {
		if err = s.reconcile(ctx, with.Key); err == nil {
			lease, err = s.again(ctx, with)
		}
	}
	if _, compared := s.compared.Load(lease.Key.ID); err != nil || compared && lease.Key.Known {
		return lease, err
	}
	if err := s.reconcile(ctx, lease.Key.ID); err != nil {
		s.release(ctx, lease)
		return lease, err
	}
	return lease, nil
}

// away marks that the registry of keys could not be asked. It is the same for every key, and passes.
type away struct{ error }

func (a away) Unwrap() error { return a.error }

// grant waits for a lease.
func (s *Signer) grant(ctx context.Context, want key.Request) (key.Lease, error) {
	if s.options.Wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.options.Wait)
		defer cancel()
	}
	lease, err := s.registry.Lease(ctx, want)
	if err != nil && problem.KindOf(err) == problem.Unavailable && !errors.Is(err, key.ErrBusy) && !errors.Is(err, key.ErrQuarantined) {
		err = away{err}
	}
	return lease, err
}

// again leases a key that was just reconciled. Where it was set aside once more, because another holder has failed meanwhile, there is
// nothing for an operator to do: it is busy.
func (s *Signer) again(ctx context.Context, want key.Request) (key.Lease, error) {
	lease, err := s.grant(ctx, want)
	if errors.Is(err, key.ErrQuarantined) {
		err = problem.New(key.ErrBusy.Kind, key.ErrBusy.Code, "the key %s was set aside again as soon as it had been compared with its chain; it is tried again", want.Key)
	}
	return lease, err
}

// Reconcile compares a key with its chain when an operator asks for it.
func (s *Signer) Reconcile(ctx context.Context, keyID string) error { return s.reconcile(ctx, keyID) }

// reconcile compares a key's nonce with the chain's. A node that has more of its transactions waiting than were decided has
// some that this database does not know, as after a restore of an older copy: until they are mined, or dropped, the next
// decisions could give their nonces to other intents (I6).
func (s *Signer) reconcile(ctx context.Context, keyID string) error {
	k, err := s.registry.Get(ctx, keyID)
	if err != nil {
		return err
	}
	account, err := s.account(ctx, k.Chain, k.Address)
	if err != nil {
		return fmt.Errorf("ask %s for the nonce of %s, to reconcile the key %s: %w", k.Chain, k.Address, k.ID, err)
	}
	if err := short(k, account); err != nil {
		return err
	}
	if err := s.registry.Reconcile(ctx, keyID, account.Nonce); err != nil {
		return err
	}
	now, err := s.registry.Get(ctx, keyID)
	if err != nil {
		return err
	}
	if account.Pending > now.Nonce {
		return problem.New(key.ErrBusy.Kind, key.ErrBusy.Code, "the node has %d transactions of %s, mined or waiting, and Aval decided %d: nothing is signed with the key %s until the others are mined or dropped; was the data folder restored from an older copy?",
			account.Pending, k.Address, now.Nonce, k.ID)
	}
	s.compared.Store(keyID, true)
	if k.Status == key.Quarantined {
		s.options.Log.InfoContext(ctx, "key reconciled with its chain", "key", k.ID, "chain", k.Chain, "address", k.Address, "chain_nonce", account.Nonce, "next_nonce", k.Nonce, "holder", k.Holder, "reason", k.Reason)
	}
	return nil
}

// short tells that a key that was restored stays set aside: while what the backup knows of is not all mined, transactions that
// were decided later, and forgotten, can wait behind it where no node shows them. A chain that is ahead is the registry's to refuse.
func short(k key.Key, account chain.Account) error {
	if k.Status != key.Quarantined || k.Holder != key.Restored || account.Nonce > k.Nonce || account.Nonce == k.Nonce && account.Pending <= k.Nonce {
		return nil
	}
	return problem.New(key.ErrBusy.Kind, key.ErrBusy.Code, "the key %s was restored from a backup that knows of %d transactions of %s; the chain has mined %d and the node has %d, mined or waiting: nothing is signed with it until just the first %d are mined and no others wait",
		k.ID, k.Nonce, k.Address, account.Nonce, account.Pending, k.Nonce)
}

// release ends a lease even when the caller's time is over. A lease that cannot be released expires, and its key is
// quarantined and reconciled by whoever wants it next.
func (s *Signer) release(ctx context.Context, lease key.Lease) {
	ctx = context.WithoutCancel(ctx)
	err := s.registry.Release(ctx, lease)
	if err != nil && !errors.Is(err, key.ErrStale) {
		err = s.registry.Release(ctx, lease) // it may have been released: then this one is stale
	}
	if err != nil {
		s.options.Log.WarnContext(ctx, "lease not released", "key", lease.Key.ID, "fence", lease.Fence, "holder", lease.Holder, "error", err)
	}
}

// decide commits the decisions of the requests that fit the lease's key.
func (s *Signer) decide(ctx context.Context, lease key.Lease, j *job, todo []int) {
	var fit []int
	var txs []chain.Unsigned
	for _, i := range todo {
		tx, err := s.canonical(j.requests[i].Tx, lease.Key)
		if err == nil {
			err = fits(tx, lease.Key)
		}
		if err != nil {
			j.errs[i] = err
			continue
		}
		fit, txs = append(fit, i), append(txs, tx)
	}
	if len(fit) == 0 {
		return
	}
	decisions, err := s.decisions.Decide(ctx, lease, j.steps(fit), txs)
	if err == nil {
		for n, i := range fit {
			j.decisions[i], j.decided[i] = decisions[n], true
		}
		return
	}
	if !refused(err) {
		s.recall(context.WithoutCancel(ctx), j) // reported as failed, and perhaps committed all the same
	}
	for _, i := range fit {
		if !j.decided[i] {
			j.errs[i] = err
		}
	}
}

// canonical writes the sender as the registry does, who is the key's address where none is asked for.
func (s *Signer) canonical(tx chain.Unsigned, with key.Key) (chain.Unsigned, error) {
	if tx.From == "" {
		tx.From = with.Address
	}
	codec, err := s.codec(tx.Chain)
	if err != nil {
		return tx, err
	}
	tx.From, err = codec.Address(tx.From)
	return tx, err
}

// refused tells the answers that mean "not done" from those that leave it open.
func refused(err error) bool {
	for _, refusal := range []error{key.ErrStale, ErrUnreconciled, ErrUndecided, ErrMismatch, ErrRefused} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return problem.KindOf(err) == problem.Invalid
}
