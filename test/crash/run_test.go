package crash

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/params"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/test/e2e/stage"
)

// patience is how long anything may take that has to happen.
const patience = time.Minute

// run is one run: an installation that lives many short lives, a chain that lives on, and the load.
type run struct {
	t        *testing.T
	chance   *stage.Chance // of the plan alone: what runs at the same time has its own
	in       *stage.Installation
	chain    *stage.Chain
	backing  backing
	operator *client.Client
	parties  []*stage.Party
	spare    string // a client whose state the chores change
	load     *load

	struck map[string]int  // kills at each point
	passed map[string]bool // points that the last life has passed
	rows   []*row          // the table, by what was struck
	lives  []*row          // the row of each life
	seen   seen            // what the table ends with

	mu      sync.Mutex
	wallets []client.Wallet
	up      chan struct{} // closed while the process serves
	cycles  int
	opened  int // wallets and clients by chores
}

func newRun(t *testing.T, open func(*testing.T) backing) *run {
	r := &run{t: t, backing: open(t), chance: stage.NewChance(t, *seed), chain: stage.NewChain(t, t.TempDir()), struck: map[string]int{}, up: make(chan struct{})}
	fields := map[string]any{"chain": map[string]any{"url": r.chain.Wire.URL, "id": r.chain.ChainID()}}
	r.backing.configure(fields)
	r.in = stage.Install(t, program, fields)
	p := r.start("")
	if err := r.found(t.Context()); err != nil {
		t.Fatalf("%v; aval wrote: %s", err, p.Stderr())
	}
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	r.down()
	r.load = newLoad(r)
	return r
}

// found makes two clients with two wallets each.
func (r *run) found(ctx context.Context) (err error) {
	if r.operator, err = r.in.Operator(client.WithAttempts(1)); err != nil {
		return err
	}
	for _, name := range []string{"shop", "treasury"} {
		address, sign, err := stage.NewSigner()
		if err != nil {
			return err
		}
		p, err := stage.Enroll(ctx, r.operator, r.in.URL, name, address, sign, client.WithAttempts(1))
		if err != nil {
			return err
		}
		r.parties = append(r.parties, p)
		for n := range 2 {
			if err := r.addWallet(ctx, p, fmt.Sprint("main ", n)); err != nil {
				return err
			}
		}
	}
	address, _, err := stage.NewSigner()
	if err != nil {
		return err
	}
	spare, err := r.operator.CreateClient(ctx, "spare", address)
	r.spare = spare.ID
	return err
}

// addWallet opens a wallet and fills it.
func (r *run) addWallet(ctx context.Context, p *stage.Party, name string) error {
	w, err := p.CreateWallet(ctx, client.NewWallet{Name: name})
	if err != nil {
		return err
	}
	if err := r.chain.Pay(ctx, w.Address, new(big.Int).Mul(big.NewInt(1000), big.NewInt(params.Ether))); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wallets = append(r.wallets, w)
	return nil
}

// start begins a life and waits until it serves.
func (r *run) start(faults string) *stage.Process {
	r.t.Helper()
	p, err := r.in.Start(faults)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(p.Kill)
	select {
	case <-p.Ready:
		r.serving()
	case <-p.Done: // at a point that a start passes
	case <-time.After(patience):
		r.t.Fatalf("aval did not start: %s", p.Stderr())
	}
	return p
}

// cycle is a life and its end.
func (r *run) cycle(number int, s strike) {
	r.begin(number, s)
	p := r.start(s.rule)
	if s.trouble != nil {
		if err := s.trouble(r); err != nil {
			r.t.Fatalf("%s: %v", s.name, err)
		}
	}
	if s.rule == "" {
		select {
		case <-time.After(s.delay): // the moment is chance
		case <-p.Done:
		}
		p.Kill()
	}
	r.chores(p, s)
	r.down()
	if !p.Killed() {
		r.t.Fatalf("life %d, %s%s: it was not killed: %v", number, s.name, s.side, p.Err())
	}
	r.struck[s.name+s.side]++
	if s.after != nil {
		if err := s.after(r); err != nil {
			r.t.Fatalf("%s: %v", s.name, err)
		}
	}
}

// begin notes what this life's messages will be counted under.
func (r *run) begin(number int, s strike) {
	r.rowOf(s).kill(s.side)
	r.mu.Lock()
	r.cycles = number
	r.mu.Unlock()
	if s.begin != nil {
		s.begin(r)
	}
}

// chores repeats what makes the process pass the point, until it is dead.
func (r *run) chores(p *stage.Process, s strike) {
	deadline := time.NewTimer(3 * patience) // an outbox has to grow before it is trimmed
	defer deadline.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		if s.chore != nil {
			if err := s.chore(r); err != nil && !stage.Gone(err) {
				r.t.Errorf("%s%s: %v", s.name, s.side, err)
			}
		}
		select {
		case <-p.Done:
			return
		case <-again.C:
		case <-deadline.C:
			r.t.Errorf("%s was not reached in %v: %s", s.rule, 3*patience, p.Stderr())
			p.Kill()
		}
	}
}

func (r *run) serving() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.up)
}

func (r *run) down() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.up:
		r.up = make(chan struct{})
	default: // it died before it served
	}
}

// served waits until the process serves.
func (r *run) served(ctx context.Context) error {
	r.mu.Lock()
	up := r.up
	r.mu.Unlock()
	select {
	case <-up:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// next numbers what chores make.
func (r *run) next() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.opened++
	return r.opened
}

// register adds a client. A secret whose answer got lost is lost: the client is there, and an operator gives it another.
func (r *run) register() error {
	address, _, err := stage.NewSigner()
	if err == nil {
		_, err = r.operator.CreateClient(r.t.Context(), fmt.Sprint("client ", r.next()), address)
	}
	return err
}

func (r *run) toggle() error {
	if _, err := r.operator.Disable(r.t.Context(), r.spare); err != nil {
		return err
	}
	_, err := r.operator.Enable(r.t.Context(), r.spare)
	return err
}

func (r *run) rebuild() error {
	_, err := r.operator.RebuildReference(r.t.Context())
	return err
}

// openWallet makes a key that was never used and uses it, so that its nonce is reconciled.
func (r *run) openWallet() error {
	n := r.next()
	before := len(r.wallets)
	err := r.addWallet(r.t.Context(), r.parties[n%len(r.parties)], fmt.Sprint("wallet ", n))
	if err == nil {
		m := r.load.compose(r.wallets[before], n)
		err = r.load.once(r.t.Context(), m)
	}
	return err
}

// spoilReference puts a row into Reference that Guarantee knows nothing of, while nobody looks.
func (r *run) spoilReference() {
	row := guarantee.Snapshot{ID: message.NewID(), Version: 3, State: "Nowhere", Status: guarantee.Running, Accepted: time.Now(), Updated: time.Now()}
	view, end, err := r.backing.reference(r.t.Context(), r.in)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := errors.Join(view.Replace(r.t.Context(), []guarantee.Snapshot{row}, nil), end()); err != nil {
		r.t.Fatal(err)
	}
}

// dropSecret has the key of task tokens made anew. Nothing in a run waits for a token.
func (r *run) dropSecret() {
	if err := r.backing.dropSecret(r.t.Context(), r.in, "task-tokens"); err != nil {
		r.t.Fatal(err)
	}
}

func (r *run) restartChain() error { return r.chain.Restart(r.t.Context()) }

func (r *run) loseAnswers() error { r.chain.Wire.Lose(4); return nil }

func (r *run) forgetBroadcasts() error { r.chain.Wire.Forget(4); return nil }

func (r *run) cutWire() error { r.chain.Wire.Cut(true); return nil }

// mendWire first sees that without its chain Aval says so and ends, and does not come up half.
func (r *run) mendWire() error {
	p, err := r.in.Start("")
	if err != nil {
		return err
	}
	select {
	case <-p.Done:
	case <-time.After(patience):
		p.Kill()
	}
	if told := stage.Told(p.Stderr()); p.ExitCode() != 5 || told.Code != "chain-unreachable" {
		return fmt.Errorf("without its chain aval ended with code %d and wrote: %s", p.ExitCode(), p.Stderr())
	}
	r.chain.Wire.Cut(false)
	return nil
}
