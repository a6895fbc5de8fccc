package verify

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/transaction"
)

// Transactions reads what is decided; transaction.Store does.
type Transactions interface {
	// Range gives a key's transactions from a nonce on, at most limit of them, in order.
	Range(ctx context.Context, key string, from uint64, limit int) ([]transaction.Transaction, error)
}

// Keys tells whose addresses there are; key.Registry does.
type Keys interface {
	// List gives all keys.
	List(ctx context.Context) ([]key.Key, error)
}

// Ports are what a Verifier works on.
type Ports struct {
	Transactions Transactions
	Keys         Keys
	Verdicts     Verdicts                            // nil: only Compare is used, and compares with no earlier verdicts
	Codec        func(chain string) (Decoder, error) // an unknown chain is an error
}

// Options of a Verifier.
type Options struct {
	Workers  int             // signatures recovered at once; 0 means as many as there are cores
	Topic    bool            // signed transactions come by the topic, each of them: signing workers announce them
	Patience time.Duration   // how long stored bytes may take until they do; 0 means 30 s
	Observe  func(word Word) // told of each finding that is news, good ones too, for metrics; may be nil
	Log      *slog.Logger    // nil logs nothing
}

// Verifier compares signed bytes with decisions. It is safe for concurrent use.
type Verifier struct {
	Ports
	options Options
	mu      sync.Mutex
	known   map[owner]string // key ids
	swept   time.Time        // what was stored before was swept
	behind  time.Time        // when the topic may last have had more than was judged
}

// owner is an address on a chain.
type owner struct{ chain, address string }

// New makes a Verifier.
func New(ports Ports, options Options) *Verifier {
	if options.Workers <= 0 {
		options.Workers = runtime.GOMAXPROCS(0)
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.Patience <= 0 {
		options.Patience = patience
	}
	return &Verifier{Ports: ports, options: options, known: map[owner]string{}, behind: time.Now()}
}

// Judge judges signed bytes, one verdict each, in order: on all cores, and with one look-up for each key and run of nonces.
func (v *Verifier) Judge(ctx context.Context, seen []Seen) ([]Verdict, error) {
	verdicts, decoded := make([]Verdict, len(seen)), make([]chain.Decoded, len(seen))
	codecs := map[string]Decoder{}
	for _, s := range seen {
		if _, asked := codecs[s.Chain]; !asked {
			codecs[s.Chain], _ = v.Codec(s.Chain)
		}
	}
	v.parallel(len(seen), func(i int) {
		codec := codecs[seen[i].Chain]
		if codec == nil {
			codec = noChain(seen[i].Chain)
		}
		decoded[i], verdicts[i] = Read(codec, seen[i])
	})
	decided, err := v.decided(ctx, verdicts)
	if err != nil {
		return nil, err
	}
	for i := range seen {
		if verdicts[i].Word == "" {
			verdicts[i] = Judge(codecs[seen[i].Chain], decoded[i], decided[verdicts[i].Place])
		}
	}
	return verdicts, nil
}

// noChain is the decoder of a chain that this installation does not serve.
type noChain string

func (c noChain) Address(string) (string, error) { return "", fmt.Errorf("there is no chain %q", c) }

func (c noChain) Decode([]byte) (chain.Decoded, error) {
	return chain.Decoded{}, fmt.Errorf("there is no chain %q here", string(c))
}

// parallel runs the function for each index, on all workers.
func (v *Verifier) parallel(n int, run func(i int)) {
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(v.options.Workers, n) {
		workers.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				run(i)
			}
		})
	}
	workers.Wait()
}

// decided looks up what is decided at the places of those that could be read.
func (v *Verifier) decided(ctx context.Context, verdicts []Verdict) (map[Place]*transaction.Transaction, error) {
	nonces := map[owner][]uint64{}
	for _, one := range verdicts {
		if one.Word == "" && one.Place.Nonce <= math.MaxInt64 { // nothing is decided beyond
			o := owner{one.Place.Chain, one.Place.Address}
			nonces[o] = append(nonces[o], one.Place.Nonce)
		}
	}
	found := map[Place]*transaction.Transaction{}
	for o, some := range nonces {
		id, err := v.keyOf(ctx, o)
		if err != nil {
			return nil, err
		}
		if id == "" {
			continue
		}
		slices.Sort(some)
		if err := v.lookUp(ctx, o, id, slices.Compact(some), found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// keyOf finds the key of an address; "" when it is nobody's. The list is read again when an address is not on it.
func (v *Verifier) keyOf(ctx context.Context, o owner) (string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if id, known := v.known[o]; known {
		return id, nil
	}
	keys, err := v.Keys.List(ctx)
	if err != nil {
		return "", fmt.Errorf("list the keys to verify by: %w", err)
	}
	for _, k := range keys {
		v.known[owner{k.Chain, k.Address}] = k.ID
	}
	return v.known[o], nil
}

// page is how many transactions are read at once.
const page = 512

// lookUp reads the transactions of a key with these nonces, which are sorted.
func (v *Verifier) lookUp(ctx context.Context, o owner, keyID string, nonces []uint64, found map[Place]*transaction.Transaction) error {
	last := nonces[len(nonces)-1]
	for len(nonces) > 0 {
		from := nonces[0]
		limit := int(min(page, last-from+1))
		some, err := v.Transactions.Range(ctx, keyID, from, limit)
		if err != nil {
			return fmt.Errorf("read what the key %s has decided from nonce %d: %w", keyID, from, err)
		}
		until := last
		if len(some) == limit {
			until = some[len(some)-1].Nonce
		}
		for i := range some {
			found[Place{o.chain, o.address, some[i].Nonce}] = &some[i]
		}
		for len(nonces) > 0 && nonces[0] <= until {
			nonces = nonces[1:]
		}
	}
	return nil
}

// Record keeps verdicts and tells those that are news: to the log and to the metrics. It gives the news.
func (v *Verifier) Record(ctx context.Context, verdicts []Verdict) ([]Verdict, error) {
	if len(verdicts) == 0 {
		return nil, nil
	}
	fresh, err := v.Verdicts.Record(ctx, verdicts)
	if err != nil {
		return nil, fmt.Errorf("record %d verdicts: %w", len(verdicts), err)
	}
	for _, one := range fresh {
		v.tell(ctx, one)
	}
	return fresh, nil
}

func (v *Verifier) tell(ctx context.Context, one Verdict) {
	if v.options.Observe != nil {
		v.options.Observe(one.Word)
	}
	if one.Word != Good {
		v.options.Log.ErrorContext(ctx, "a signed transaction is not what was decided", "verdict", one.Word, "hash", one.Hash, "chain", one.Place.Chain, "address", one.Place.Address,
			"nonce", one.Place.Nonce, "key", one.Key, "message_id", one.Step.Message, "source", one.Source, "why", one.Why)
	}
}
