package main

import (
	"context"
	"errors"
	"math/big"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/chain/evm"
	"github.com/avalhq/aval/internal/config"
	"github.com/avalhq/aval/internal/custody/keystore/sealed"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
)

// seedFlags are what both ways to stock a database share.
type seedFlags struct {
	settings `embed:""`
	File     string `name:"config" required:"" env:"AVAL_CONFIG" help:"Configuration file, with database.url." placeholder:"FILE"`
	Count    int    `required:"" help:"How many." placeholder:"N"`
	Pool     string `default:"seed" help:"The pool of keys." placeholder:"NAME"`
	DryRun   bool   `help:"Say what would be done, and do nothing."`
}

// load checks the flags, and that there is a database.
func (f seedFlags) configuration() (c config.Config, err error) {
	if f.Count < 1 || f.Pool == "" {
		return c, misused("flag-invalid", "--count has to be 1 or more, and --pool a name")
	}
	if c, err = f.read(f.File); err != nil {
		return c, err
	}
	if c.Database.URL == "" {
		return c, misused("job-needs-database", "this stocks a PostgreSQL database, and the configuration names none; set database.url")
	}
	return c, nil
}

type jobSeedKeys struct {
	seedFlags
}

// Help is shown by aval job seed-keys --help.
func (jobSeedKeys) Help() string {
	return `The keys are born in the key store and registered for the configured chain in one pool, whose keys are interchangeable: whoever signs for the pool gets the one that was used least recently. They belong to no wallet and hold nothing. Each further run adds as many more.

    aval job seed-keys --config aval.yaml --count 16 --pool hot
    aval job seed-keys --config aval.yaml --count 16 --dry-run`
}

// Run is the command.
func (c *jobSeedKeys) Run(ctx context.Context, s *screen) (err error) {
	cfg, err := c.configuration()
	if err != nil {
		return err
	}
	network := evm.NewCodec(cfg.Chain.ID).ID()
	if c.DryRun {
		s.seeded("keys", 0, c.Pool, "%d keys for %s would be made, in the pool %s.", c.Count, network, c.Pool)
		return nil
	}
	storage, err := openStorage(ctx, cfg, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, storage.close()) }()
	where := sealed.Options{Blobs: storage.sealed, KeyFile: cfg.Custody.KeyFile}
	if where.Passphrase, err = readPassphrase(cfg.Custody, s); err != nil {
		return err
	}
	store, err := sealed.Open(ctx, where)
	if err != nil {
		return problem.New(problem.Invalid, "keystore-locked", "the keys of this database do not open: %w; start Aval on it once before, with the same key-encryption key", err)
	}
	maker := signer.New(storage.keys, storage.decisions, store, evmCodec, nil, signer.Options{Holder: storage.holder + "/seed"})
	var made atomic.Int64
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for range c.Count {
		group.Go(func() error {
			_, err := maker.CreateKey(within, network, c.Pool)
			s.counting("%d of %d keys …", made.Add(1), c.Count)
			return err
		})
	}
	err = group.Wait()
	s.counted()
	if err == nil {
		s.seeded("keys", c.Count, c.Pool, "%d keys for %s are in the pool %s.", c.Count, network, c.Pool)
	}
	return err
}

// evmCodec is the format of an EVM chain by its CAIP-2 id; it needs no node.
func evmCodec(id string) (chain.Codec, error) {
	d, err := decoder(id)
	if err != nil {
		return nil, err
	}
	return d.(*evm.Codec), nil
}

type jobSeedTransactions struct {
	seedFlags
	RealChain bool `help:"Do it although the chain is not a development chain, so that each transaction costs gas there."`
}

// Help is shown by aval job seed-transactions --help.
func (jobSeedTransactions) Help() string {
	return `It stocks the database with unsigned transactions, as requests to sign that no message stands behind: signing workers (signing.by: workers) sign them with keys of the pool, and the keepers of the lanes then send them to the chain. Each moves nothing, costs gas, and goes to the address 0x…dEaD. It is for trials and measurements, and for a development chain (1337 or 31337) alone unless --real-chain is given. What was committed cannot be taken back.

    aval job seed-keys --config aval.yaml --count 16 --pool hot
    aval job seed-transactions --config aval.yaml --count 100000 --pool hot
    aval job seed-transactions --config aval.yaml --count 100000 --dry-run`
}

// Run is the command.
func (c *jobSeedTransactions) Run(ctx context.Context, s *screen) (err error) {
	cfg, err := c.configuration()
	if err != nil {
		return err
	}
	network := evm.NewCodec(cfg.Chain.ID).ID()
	if trial := cfg.Chain.ID == 1337 || cfg.Chain.ID == 31337; !trial && !c.RealChain {
		return misused("chain-not-for-trials", "%s is no development chain: %d transactions would be signed and sent there and cost gas; give --real-chain if that is meant", network, c.Count)
	}
	if c.DryRun {
		s.seeded("transactions", 0, c.Pool, "%d transactions on %s would be asked for, to be signed by keys of the pool %s and sent.", c.Count, network, c.Pool)
		return nil
	}
	storage, err := openStorage(ctx, cfg, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, storage.close()) }()
	err = seedRequests(ctx, storage.requests, network, c.Pool, c.Count, func(done int) { s.counting("%d of %d transactions …", done, c.Count) })
	s.counted()
	if err == nil {
		s.seeded("transactions", c.Count, c.Pool, "%d transactions on %s wait for keys of the pool %s.", c.Count, network, c.Pool)
	}
	return err
}

// seedBatch is how many requests are committed at once.
const seedBatch = 5000

// seedRequests commits requests to sign, with keys of a pool, transactions that move nothing.
func seedRequests(ctx context.Context, to signer.Requests, network, pool string, count int, progress func(done int)) error {
	for done := 0; done < count; {
		batch := make([]signer.Request, min(seedBatch, count-done))
		for i := range batch {
			batch[i] = signer.Request{Step: signer.Step{Message: message.NewID(), State: "Seed"}, Pool: pool, Tx: idle(network)}
		}
		if err := to.Put(ctx, batch); err != nil {
			return err
		}
		done += len(batch)
		progress(done)
	}
	return nil
}

// idle is a transaction that moves nothing.
func idle(network string) chain.Unsigned {
	const gwei = 1_000_000_000
	return chain.Unsigned{Chain: network, To: "0x000000000000000000000000000000000000dEaD", Value: new(big.Int), Gas: 21_000, Fee: big.NewInt(30 * gwei), Tip: big.NewInt(gwei)}
}

// seeded says what was done.
func (s *screen) seeded(what string, count int, pool, sentence string, args ...any) {
	s.answer(map[string]any{"seeded": what, "count": count, "pool": pool, "at": time.Now().UTC()}, func() { s.say(sentence, args...) })
}
