package main

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/internal/auth"
	"github.com/avalhq/aval/internal/config"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
)

// loadBench is the whole platform under load through its HTTP API, by a client that signs what it sends. Platform, chain and
// client share the process and its cores.
type loadBench struct {
	*meter
	platform *platform
	node     *benchNode // nil: the embedded chain
	client   *client.Client
	sign     client.Signer
	ids      chan client.IDs // one id each
	latency  latency
	mu       sync.Mutex
	begun    map[string]time.Time
}

// benchMessages sends note.v1 messages.
func benchMessages(ctx context.Context, m *meter) (figures, error) {
	text := strings.Repeat("x", 700)
	return benchLoad(ctx, "messages", m, nil, func(context.Context, *loadBench) (func(int) (string, any), error) {
		return func(n int) (string, any) {
			return "note.v1", map[string]any{"text": text, "reference": fmt.Sprint(n)}
		}, nil
	})
}

// benchTransfers sends native coin from so many wallets, each with a key of its own, until it is confirmed: on the embedded
// chain, or on a node, which is then fed alone with as many transactions.
func benchTransfers(ctx context.Context, m *meter, keys int, where string) (f figures, err error) {
	var node *benchNode
	if where != "" {
		if node, err = openBenchNode(ctx, where); err != nil {
			return f, err
		}
		defer func() { _ = node.end() }()
		if node.process != nil {
			var stop context.CancelFunc
			ctx, stop = node.process.While(ctx)
			defer func() { err = lost(ctx, err); stop() }()
		}
		if _, err = node.feed(ctx, warming, keys, 1); err != nil {
			return f, err
		}
	}
	f, err = benchLoad(ctx, "transfers", m, node, func(ctx context.Context, b *loadBench) (func(int) (string, any), error) {
		wallets, err := b.wallets(ctx, keys)
		return func(n int) (string, any) {
			return "transfer.v1", client.Transfer{Wallet: wallets[n%keys].ID, To: "0x000000000000000000000000000000000000dEaD", Asset: "native", Amount: "1"}
		}, err
	})
	if err != nil || node == nil {
		return f, err
	}
	if f.Node, err = node.feed(ctx, f.Count, keys, config.Default().Chain.Confirmations); err != nil {
		return f, err
	}
	f.Node.Ratio = f.Rate / f.Node.Rate
	return f, nil
}

// lost is the error that a run fails with where what it worked with has ended by itself.
func lost(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// on is the configuration for a node in the place of the embedded chain.
func (n *benchNode) on(cfg config.Config, inFlight int) config.Config {
	if n == nil {
		return cfg
	}
	cfg.Chain.URL, cfg.Chain.ID, cfg.Chain.Poll = config.Endpoints{config.Endpoint(n.url)}, n.chainID, 100*time.Millisecond
	cfg.Controller.InFlight = max(cfg.Controller.InFlight, 2*inFlight)
	return cfg
}

// preparation readies a scenario and gives what the nth message is: its type and its body.
type preparation func(context.Context, *loadBench) (func(n int) (messageType string, body any), error)

func benchLoad(ctx context.Context, scenario string, m *meter, node *benchNode, prepare preparation) (f figures, err error) {
	folder, remove, err := m.flags.folder()
	if err != nil {
		return f, err
	}
	defer remove()
	b := &loadBench{meter: m, node: node, begun: map[string]time.Time{}, ids: make(chan client.IDs, 200)}
	cfg, err := m.flags.config(folder)
	if err != nil {
		return f, err
	}
	b.platform, err = openPlatform(ctx, node.on(cfg, m.flags.InFlight), options{log: slog.New(slog.DiscardHandler), ended: b.ended, parked: b.parked, acted: b.latency.acted})
	if err != nil {
		return f, err
	}
	defer func() { _ = b.platform.Close() }()
	ctx, stop := context.WithCancel(ctx)
	served := make(chan error, 1)
	go func() { served <- b.platform.Run(ctx) }()
	f, err = b.measure(ctx, scenario, prepare)
	stop()
	if stopped := <-served; err == nil {
		err = stopped
	}
	return f, err
}

func (b *loadBench) measure(ctx context.Context, scenario string, prepare preparation) (figures, error) {
	if err := b.register(ctx); err != nil {
		return figures{}, err
	}
	order, err := prepare(ctx, b)
	if err != nil {
		return figures{}, err
	}
	issuing, stop := context.WithCancel(ctx)
	defer stop()
	go b.issue(issuing)
	b.Begin()
	var senders sync.WaitGroup
	for n := 0; b.Enter(ctx, n); n++ {
		b.Pace(ctx, n)
		senders.Go(func() { b.send(ctx, order, n) })
	}
	senders.Wait()
	b.Drain(ctx)
	f, err := b.figures(scenario, 1)
	f.Sent = b.latency.figures()
	return f, err
}

// register makes a client with a signing key, and speaks as that client from then on.
func (b *loadBench) register(ctx context.Context) error {
	key, err := crypto.GenerateKey()
	if err != nil {
		return err
	}
	b.sign = client.KeySigner(key)
	token, _, err := b.platform.issuer.Mint("bench", auth.Operator)
	if err != nil {
		return err
	}
	operator, err := client.New(b.platform.url(), client.WithToken(token))
	if err != nil {
		return err
	}
	me, err := operator.CreateClient(ctx, "bench", addressOf(key))
	if err != nil {
		return err
	}
	b.client, err = client.New(b.platform.url(), client.WithCredentials(me.ID, me.Secret))
	return err
}

func addressOf(key *ecdsa.PrivateKey) string { return crypto.PubkeyToAddress(key.PublicKey).Hex() }

// wallets creates and funds as many as there are keys.
func (b *loadBench) wallets(ctx context.Context, n int) ([]client.Wallet, error) {
	list, addresses := make([]client.Wallet, n), make([]string, n)
	for i := range list {
		w, err := b.client.CreateWallet(ctx, client.NewWallet{Name: fmt.Sprintf("wallet %d", i)})
		if err != nil {
			return nil, err
		}
		list[i], addresses[i] = w, w.Address
	}
	if b.node != nil {
		return list, b.node.fund(ctx, benchCoin(), addresses...)
	}
	for _, address := range addresses {
		if _, err := b.platform.dev.Faucet(ctx, address, benchCoin()); err != nil {
			return nil, err
		}
	}
	for { // the last one funded is there when all are
		account, err := b.platform.network.Account(ctx, addresses[n-1])
		if err != nil || account.Balance.Sign() > 0 {
			return list, err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// issue keeps ids in stock, a hundred a request.
func (b *loadBench) issue(ctx context.Context) {
	for ctx.Err() == nil {
		all, err := b.client.IssueIDs(ctx, 100)
		if err != nil {
			return // seen by whoever waits for an id, when ctx ends
		}
		for _, id := range all.IDs {
			one := all
			one.IDs = []client.ID{id}
			select {
			case b.ids <- one:
			case <-ctx.Done():
				return
			}
		}
	}
}

func (b *loadBench) send(ctx context.Context, order func(int) (string, any), n int) {
	began := time.Now()
	var ids client.IDs
	select {
	case ids = <-b.ids:
	case <-ctx.Done():
		b.Leave(began, false)
		return
	}
	kind, body := order(n)
	signed, err := b.client.Sign(client.Message{
		ID: ids.IDs[0].ID, Type: kind, Client: ids.Client, Chain: b.platform.chainID, Expires: ids.IDs[0].Expires, Body: body,
	}, ids, b.sign)
	if err == nil {
		b.mu.Lock()
		b.begun[ids.IDs[0].ID] = began
		b.mu.Unlock()
		b.latency.submitted(ids.IDs[0].ID)
		_, err = b.client.Submit(ctx, ids.IDs[0].ID, signed)
	}
	if err != nil {
		b.Leave(began, false)
	}
}

func (b *loadBench) ended(rec *guarantee.Record) { b.leave(rec.ID, rec.Status == guarantee.Succeeded) }

func (b *loadBench) parked(id message.ID) { b.leave(id, false) }

func (b *loadBench) leave(id message.ID, ok bool) {
	b.mu.Lock()
	began, mine := b.begun[string(id)]
	delete(b.begun, string(id))
	b.mu.Unlock()
	if mine {
		b.Leave(began, ok)
	}
}
