package transaction

import (
	"context"
	"log/slog"
	"math/big"
	"sync"
	"sync/atomic"
	"time"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/leader"
)

// Signer signs what was committed before: the decisions of steps, and the attempts that this package decides.
type Signer interface {
	// Sign completes decisions that have no bytes; see signer.Signer.
	Sign(ctx context.Context, keyID string, requests []signer.Request) ([]signer.Decision, []error)
	// Seal signs one committed transaction with a nonce.
	Seal(ctx context.Context, keyID string, tx chain.Unsigned, nonce uint64) (chain.Signed, error)
}

// Keys stops the use of a key that the chain shows to be used by somebody else.
type Keys interface {
	// Reconcile tells the registry what the chain has spent; see key.Registry.
	Reconcile(ctx context.Context, id string, chainNonce uint64) error
	// Distrust sets the key aside until an operator says that what happened is known; see key.Trust.
	Distrust(ctx context.Context, id, by, why string) error
}

// Ports are what a Keeper works on.
type Ports struct {
	Store    Store
	Network  chain.Network
	Follower chain.Follower
	Market   chain.Market
	Signer   Signer
	Keys     Keys
}

// Policy finds what the transaction of a step may cost.
type Policy func(ctx context.Context, step signer.Step) (chain.FeePolicy, error)

// Options of a Keeper.
type Options struct {
	Confirmations uint64        // blocks from its own to the head, both included, until a transaction counts as confirmed
	FinalDepth    uint64        // the same, until it counts as final
	Finality      chain.Tag     // Safe or Finalized: the chain's own word counts, and no depth; Latest or "": depth
	Rules         Rules         // zero fields take defaults
	Policy        Policy        // nil: a transaction is raised after 3 blocks, without limits
	Every         time.Duration // a look also without a new head; 0 means 5 s
	Parallel      int           // lanes looked at at once; 0 means 16
	Faults        *fault.Points // nil in production; hit: send.before, send.after
	Log           *slog.Logger  // nil logs nothing
	Observe       Observer      // may be zero
	Seat          *leader.Seat  // one keeper of several works on the lanes; nil: there is no other
}

// Observer is told what a Keeper sees and does, for metrics. Its fields may be nil; they are called from several goroutines.
type Observer struct {
	Lane func(Sight)                       // after each look at a lane
	Act  func(what string)                 // an event of a transaction was recorded, by its word
	End  func([]signer.Step)               // the steps' transactions were recorded as confirmed or lost; must not block
	Paid func(lane Lane, fee *big.Int)     // a transaction was confirmed, and cost that much in total
	Coin func(lane Lane, balance *big.Int) // now and then: what the address of a lane with open transactions has left
}

// Sight is a lane in numbers.
type Sight struct {
	Lane   Lane
	Open   int           // transactions that no block holds
	Oldest time.Duration // how long the first of them has been open
	Gap    bool          // the first of them is not with a node, and others behind it are
	Window uint64        // how many of them may be with a node at once
}

func (o Options) withDefaults() Options {
	o.Confirmations = max(o.Confirmations, 1)
	if o.FinalDepth == 0 {
		o.FinalDepth = 64
	}
	o.FinalDepth = max(o.FinalDepth, o.Confirmations)
	if o.Every <= 0 {
		o.Every = 5 * time.Second
	}
	if o.Parallel <= 0 {
		o.Parallel = 16
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Policy == nil {
		o.Policy = func(context.Context, signer.Step) (chain.FeePolicy, error) { return chain.FeePolicy{Patience: 3}, nil }
	}
	o.Rules = o.Rules.withDefaults()
	return o
}

func (r Rules) withDefaults() Rules {
	if r.Window == 0 {
		r.Window = 128
	}
	r.Widest = max(r.Widest, r.Window)
	if r.Grace <= 0 {
		r.Grace = 2 * time.Second
	}
	if r.Slow <= 0 {
		r.Slow = 30 * time.Second
	}
	if r.Certainty <= 0 {
		r.Certainty = 3
	}
	return r
}

// fundsEvery is how often balances are asked for, by those who observe them.
const fundsEvery = time.Minute

// Keeper keeps the lanes of one chain going. Offer and Find are safe for concurrent use, also before Run and after it.
//
// Where several processes have a keeper, the one that has the seat works on the lanes. The others look how far the lanes have
// come, so that what they are offered keeps within the window.
type Keeper struct {
	Ports
	options Options
	mu      sync.Mutex
	lanes   map[string]*lane // by key
	index   *index
	head    atomic.Uint64      // the newest block that Run was told of
	soon    chan time.Duration // the next look is to come no later
	counted time.Time          // when balances were asked for; Run alone uses it
}

// New makes a Keeper for the network's chain.
func New(ports Ports, options Options) *Keeper {
	return &Keeper{Ports: ports, options: options.withDefaults(), lanes: map[string]*lane{}, index: &index{at: map[signer.Step]place{}}, soon: make(chan time.Duration, 1)}
}

// Run looks at all lanes at each new head, and now and then without one, until ctx ends. What fails at one look is tried at
// the next; a lane that is still being worked on is left out.
func (k *Keeper) Run(ctx context.Context) error {
	var working sync.WaitGroup
	defer k.abandon()
	defer working.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	heads := k.Follower.Heads(ctx)
	net, due := time.NewTimer(0), time.Now()
	defer net.Stop()
	for {
		var head uint64
		var err error
		select {
		case <-ctx.Done():
			return nil
		case newest, open := <-heads:
			if !open {
				return nil
			}
			head = newest
		case pause := <-k.soon:
			if at := time.Now().Add(pause); at.Before(due) {
				due = at
				net.Reset(pause)
			}
			continue
		case <-net.C:
			head, err = k.Network.Head(ctx)
		}
		due = time.Now().Add(k.options.Every)
		net.Reset(k.options.Every)
		if err == nil {
			err = k.lookAtAll(ctx, head, &working)
		}
		if err != nil && ctx.Err() == nil {
			k.options.Log.WarnContext(ctx, "the lanes could not be looked at", "chain", k.Network.ID(), "error", err)
		}
	}
}

// lookAtAll asks for what concerns all lanes in one round trip, and then works on each lane for itself.
func (k *Keeper) lookAtAll(ctx context.Context, head uint64, working *sync.WaitGroup) error {
	k.head.Store(head)
	lanes, err := k.Store.Lanes(ctx, k.Network.ID())
	if err != nil || len(lanes) == 0 {
		return err
	}
	v := View{Now: Moment{Head: head, At: time.Now()}}
	if k.options.Observe.Coin != nil && v.Now.At.Sub(k.counted) >= fundsEvery && k.options.Seat.Had() {
		k.counted = v.Now.At
		working.Go(func() { k.funds(ctx, lanes) })
	}
	if v.Confirmed, v.Final, err = k.heights(ctx, head); err != nil {
		return err
	}
	addresses := make([]string, len(lanes))
	for i, l := range lanes {
		addresses[i] = l.Address
	}
	nonces, head, err := k.Follower.Nonces(ctx, addresses)
	if err != nil {
		return err
	}
	v.Head = head
	places := make(chan struct{}, k.options.Parallel)
	for i, info := range lanes {
		l := k.lane(info.Key)
		if !l.turn.TryLock() {
			continue // it is slow: the others do not wait for it
		}
		view := v
		view.Nonce = nonces[i]
		working.Go(func() {
			defer l.turn.Unlock()
			places <- struct{}{}
			defer func() { <-places }()
			term, done, leads := k.options.Seat.Within(ctx)
			defer done()
			if leads {
				k.attend(term, l, info, view)
			} else {
				k.watch(l, info, view)
			}
		})
	}
	return nil
}

// funds asks what the lanes' addresses have left. One that cannot be asked is left out.
func (k *Keeper) funds(ctx context.Context, lanes []Lane) {
	for _, info := range lanes {
		if account, err := k.Network.Account(ctx, info.Address); err == nil {
			k.options.Observe.Coin(info, account.Balance)
		}
	}
}

// tagged says whether the chain's own tags count, and no depth.
func (o Options) tagged() bool { return o.Finality == chain.Safe || o.Finality == chain.Finalized }

// heights are the newest blocks that count as confirmed and as final.
func (k *Keeper) heights(ctx context.Context, head uint64) (confirmed, final uint64, err error) {
	if !k.options.tagged() {
		return below(head, k.options.Confirmations), below(head, k.options.FinalDepth), nil
	}
	if confirmed, err = k.Follower.Height(ctx, k.options.Finality); err != nil {
		return 0, 0, err
	}
	final, err = k.Follower.Height(ctx, chain.Finalized)
	return confirmed, final, err
}

// below is the highest block that is so deep; with none it is 0, the genesis block, which holds no transaction.
func below(head, depth uint64) uint64 {
	if head+1 < depth {
		return 0
	}
	return head + 1 - depth
}

// lane is the memory of a lane, made at its first use.
func (k *Keeper) lane(key string) *lane {
	k.mu.Lock()
	defer k.mu.Unlock()
	l := k.lanes[key]
	if l == nil {
		l = &lane{open: map[uint64]*Open{}, index: k.index}
		k.lanes[key] = l
	}
	return l
}
