package main

import (
	"context"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/contracts"
	"github.com/avalhq/aval/internal/auth"
	"github.com/avalhq/aval/internal/config"
	"github.com/avalhq/aval/internal/problem"
)

type demoCommand struct {
	Asset string `enum:"native,token" default:"native" help:"What to transfer: the chain's own coin, or an ERC-20 token made for it." placeholder:"native|token"`
	Keep  string `help:"Run in this folder, and leave it. Otherwise in a temporary one." placeholder:"DIR" xor:"where"`
	File  string `name:"config" help:"Run on the database and in the data folder that this configuration file names, and leave them. It may not name a node: the demo's coin comes from the development chain." placeholder:"FILE" xor:"where"`
}

// Help is shown by aval demo --help.
func (demoCommand) Help() string {
	return `It starts the whole platform on a temporary folder and free ports, with a development chain: registers a client, creates a wallet and fills it from the chain's faucet, signs a transfer as the client would, submits it through the HTTP API, and follows it live until it is archived. Balances and the transaction are read from the chain itself.

It exits with 0 only when the message is archived and the chain shows the transfer.

    aval demo
    aval demo --asset token
    aval demo --config cluster.yaml
    aval demo --output json`
}

// demo is one run of it.
type demo struct {
	*screen
	asset    string
	running  *running
	view     *chainView
	operator *client.Client
	client   *client.Client // as which the transfer is sent
	signer   signerKey
	wallet   client.Wallet
	to       string
	amount   *big.Int
	report   demoReport
}

// Run is the command.
func (c *demoCommand) Run(ctx context.Context, s *screen) (err error) {
	folder := c.Keep
	if folder == "" && c.File == "" {
		if folder, err = os.MkdirTemp("", "aval-demo-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	}
	d := &demo{screen: s, asset: c.Asset}
	cfg, err := c.config(folder)
	if err != nil {
		return err
	}
	if err := d.start(ctx, cfg); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.running.end()) }()
	for _, step := range []func(context.Context) error{d.connect, d.register, d.fund, d.send, d.check} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if s.json {
		s.answer(d.report, nil)
	} else {
		d.closing(c.Keep)
	}
	return d.verdict()
}

// config is that of the file, or the default one in the folder.
func (c *demoCommand) config(folder string) (cfg config.Config, err error) {
	cfg = config.Default()
	if c.File != "" {
		if cfg, err = (settings{}).read(c.File); err != nil {
			return cfg, err
		}
		if len(cfg.Chain.URL) > 0 {
			return cfg, misused("config-invalid", "%s names a node in chain.url, and the demo needs the coin of the development chain: leave chain.url empty", c.File)
		}
	} else {
		cfg.Data = filepath.Join(folder, "data")
		beside(&cfg)
	}
	cfg.API.Listen, cfg.Auth.DevIssuer, cfg.Chain.Dev.Port, cfg.Telemetry.LogLevel = "127.0.0.1:0", true, 0, "error"
	return cfg, nil
}

// start brings the platform up.
func (d *demo) start(ctx context.Context, cfg config.Config) error {
	begun := time.Now()
	o, err := prepare(cfg, d.screen)
	if err != nil {
		return err
	}
	if d.running, err = launch(ctx, cfg, o); err != nil {
		return err
	}
	d.report.Chain = demoChain{ID: d.running.chainID, RPC: d.running.dev.URL(), Confirmations: cfg.Chain.Confirmations}
	d.line("Aval demo: one transfer, from a signed message to a mined transaction.\n")
	d.line("  platform  %s, ready in %s", d.running.url(), span(time.Since(begun)))
	d.line("  chain     %s, JSON-RPC at %s", d.running.chainID, d.running.dev.URL())
	return nil
}

// line prints a line for people.
func (d *demo) line(format string, args ...any) {
	if !d.json {
		d.say(format, args...)
	}
}

// connect makes the two connections: to the API as its operator, and to the chain itself.
func (d *demo) connect(ctx context.Context) error {
	token, _, err := d.running.issuer.Mint("demo", auth.Operator)
	if err != nil {
		return err
	}
	if d.operator, err = client.New(d.running.url(), client.WithToken(token)); err != nil {
		return err
	}
	d.view, err = viewChain(ctx, d.running.dev.URL())
	return err
}

// register makes the client with its signer key, and its wallet.
func (d *demo) register(ctx context.Context) (err error) {
	if d.signer, err = newSignerKey(); err != nil {
		return err
	}
	party, err := d.operator.CreateClient(ctx, "demo", d.signer.Address)
	if err != nil {
		return err
	}
	if d.client, err = client.New(d.running.url(), client.WithCredentials(party.ID, party.Secret)); err != nil {
		return err
	}
	d.line("  client    %s, who signs with %s", party.ID, d.signer.Address)
	d.wallet, err = d.client.CreateWallet(ctx, client.NewWallet{Name: "main"})
	return err
}

// fund gives the wallet what it will send, and the coin for the fee. The receiver is nobody: a fresh address.
func (d *demo) fund(ctx context.Context) error {
	receiver, err := newSignerKey()
	if err != nil {
		return err
	}
	d.to = receiver.Address
	ether := big.NewInt(1e18)
	if _, err := d.view.faucet(ctx, d.wallet.Address, new(big.Int).Mul(ether, big.NewInt(10))); err != nil {
		return err
	}
	d.amount = new(big.Int).Div(new(big.Int).Mul(ether, big.NewInt(3)), big.NewInt(2))
	d.line("  wallet    %s at %s, with 10 ether from the chain's faucet", d.wallet.ID, d.wallet.Address)
	if d.asset == "token" {
		d.amount = big.NewInt(25_000_000)
		if err := d.mint(ctx); err != nil {
			return err
		}
	}
	return d.balances(ctx, &d.report.Balances.Before)
}

// mint puts a token on the chain and gives the wallet some of it.
func (d *demo) mint(ctx context.Context) error {
	code, err := contracts.TestToken("Demo Euro", "DEUR", 6)
	if err != nil {
		return err
	}
	contract, _, err := d.running.dev.Deploy(ctx, code)
	if err != nil {
		return err
	}
	d.asset = "erc20:" + contract
	call, err := contracts.MintTestToken(d.wallet.Address, big.NewInt(100_000_000))
	if err != nil {
		return err
	}
	hash, err := d.running.dev.Call(ctx, contract, call)
	if err != nil {
		return err
	}
	if _, err := d.view.mined(ctx, hashOf(hash)); err != nil {
		return err
	}
	d.line("  token     %s, of which the wallet has 100000000 units", contract)
	return nil
}

// send issues an id, signs, submits, and follows the message to its end.
func (d *demo) send(ctx context.Context) error {
	key, err := d.signer.key()
	if err != nil {
		return err
	}
	ids, err := d.client.IssueIDs(ctx, 1)
	if err != nil {
		return err
	}
	m := client.Message{
		ID: ids.IDs[0].ID, Type: "transfer.v1", Client: ids.Client, Chain: d.running.chainID, Expires: ids.IDs[0].Expires,
		Body: client.Transfer{Wallet: d.wallet.ID, To: d.to, Asset: d.asset, Amount: d.amount.String(), Memo: "aval demo"},
	}
	signed, err := d.client.Sign(m, ids, client.KeySigner(key))
	if err != nil {
		return err
	}
	d.line("  message   %s, signed as EIP-712 typed data:\n            %s to %s\n", m.ID, showAmount(d.amount.String(), d.asset), d.to)
	accepted, err := d.client.Submit(ctx, m.ID, signed)
	if err != nil {
		return err
	}
	d.line("%s", d.paint(grey, timelineHeader()))
	for step, err := range d.client.Watch(ctx, m.ID) {
		if err != nil {
			return err
		}
		row := timelineOf(step.Entry, accepted.Accepted)
		d.report.Timeline = append(d.report.Timeline, row)
		d.line("%s", row)
		if step.Status == client.Parked {
			return problem.New(problem.Unprocessable, "demo-parked", "the message was parked: %s", step.Reason)
		}
	}
	d.report.Message, err = d.client.Get(ctx, m.ID)
	return err
}
