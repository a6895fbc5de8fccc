package main

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"path/filepath"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/internal/auth"
	"github.com/avalhq/aval/internal/config"
)

type devCommand struct {
	settings `embed:""`
	File     string `name:"config" env:"AVAL_CONFIG" help:"Configuration file; aval config prints an example." placeholder:"FILE"`
}

// Help is shown by aval dev --help.
func (devCommand) Help() string {
	return `It keeps everything in a folder between starts, serves the HTTP API and a development chain's JSON-RPC, and leaves a ready-made client in a profile file, so that the other commands work in the same folder without further flags:

    aval dev
    aval wallet list
    aval message send transfer.v1 --to 0x… --amount '0.1 ether' --wait

The signing keys are sealed with the key in aval.kek, beside the data folder, or with the passphrase in AVAL_PASSPHRASE. The profile is the client's, not Aval's: it holds the key that the client signs messages with, in clear, and is meant for development alone.

Ctrl-C stops it; what is under way goes on at the next start.`
}

// faucetWei is what a new development wallet gets: 100 ether.
func faucetWei() *big.Int { return new(big.Int).Mul(big.NewInt(100), big.NewInt(1e18)) }

// Run is the command.
func (c *devCommand) Run(ctx context.Context, s *screen, a *access) (err error) {
	begun := time.Now()
	cfg := config.Default()
	cfg.Telemetry.LogLevel = "warn" // a terminal for people: the banner should stay in sight
	cfg, err = c.over(cfg, c.File)
	if err != nil {
		return err
	}
	if !cfg.Auth.DevIssuer {
		return misused("dev-issuer-off", "the ready-made client needs the development issuer; set auth.dev_issuer to true, or use aval serve")
	}
	overridePassphrase(&cfg)
	beside(&cfg)
	o, err := prepare(cfg, s)
	if err != nil {
		return err
	}
	r, err := launch(ctx, cfg, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.end()) }()
	path := a.profileFor(cfg.Data)
	p, err := r.enroll(ctx, path)
	if err != nil {
		return err
	}
	d := dev{running: r, screen: s, profile: p, path: path}
	if err := d.welcome(ctx, time.Since(begun)); err != nil {
		return err
	}
	return r.wait(ctx, s)
}

// profileFor is the file for the profile of a data folder: in it, unless --profile says otherwise.
func (a *access) profileFor(data string) string {
	if a.Profile != defaultProfile {
		return a.Profile
	}
	return filepath.Join(data, filepath.Base(defaultProfile))
}

// enroll gives the profile of this platform: the one that is there, or one with a new client and a new operator.
func (r *running) enroll(ctx context.Context, path string) (profile, error) {
	p, there, err := readProfile(path)
	if err != nil {
		return p, err
	}
	if !there || !r.valid(ctx, p) {
		if p, err = r.newProfile(ctx); err != nil {
			return p, err
		}
	}
	p.URL = r.url()
	return p, p.write(path)
}

// valid says whether the profile's logins are still good here.
func (r *running) valid(ctx context.Context, p profile) bool {
	for _, login := range []credential{p.Client, p.Operator} {
		if _, err := r.issuer.Check(ctx, login.ID, login.Secret); err != nil {
			return false
		}
	}
	_, err := r.clients.Get(ctx, p.Client.ID)
	return err == nil
}

func (r *running) newProfile(ctx context.Context) (p profile, err error) {
	if p.Signer, err = newSignerKey(); err != nil {
		return p, err
	}
	party, err := r.clients.Create(ctx, "dev", []common.Address{common.HexToAddress(p.Signer.Address)})
	if err != nil {
		return p, err
	}
	p.Client.ID, p.Operator.ID = party.ID, "operator"
	if p.Client.Secret, err = r.issuer.Enroll(ctx, p.Client.ID, auth.Client); err != nil {
		return p, err
	}
	p.Operator.Secret, err = r.issuer.Enroll(ctx, p.Operator.ID, auth.Operator)
	return p, err
}

// dev is a platform for development that is up.
type dev struct {
	*screen
	*running
	profile profile
	path    string
}

// devReady is what aval dev prints as a line of JSON once it is ready; another one, with the event funded, follows when the
// wallet has coin.
type devReady struct {
	Event   string  `json:"event"`
	URL     string  `json:"url"`
	RPC     string  `json:"rpc,omitempty"`
	Chain   string  `json:"chain"`
	Client  string  `json:"client"`
	Signer  string  `json:"signer"`
	Wallet  string  `json:"wallet"`
	Address string  `json:"address"`
	Profile string  `json:"profile"`
	Ready   float64 `json:"ready_ms"`
}

// welcome creates the wallet and says what there is and how to try it.
func (d *dev) welcome(ctx context.Context, took time.Duration) error {
	c, err := client.New(d.url(), client.WithCredentials(d.profile.Client.ID, d.profile.Client.Secret))
	if err != nil {
		return err
	}
	w, err := c.CreateWallet(ctx, client.NewWallet{Name: "main"})
	if err != nil {
		return err
	}
	d.profile.Wallet = w.ID
	if err := d.profile.write(d.path); err != nil {
		return err
	}
	ready := devReady{"ready", d.url(), "", d.chainID, d.profile.Client.ID, d.profile.Signer.Address, w.ID, w.Address, d.path, ms(took)}
	if d.running.dev != nil {
		ready.RPC = d.running.dev.URL()
	}
	if d.json {
		d.encode(d.out, ready)
	} else {
		d.banner(ready, took)
	}
	go d.fund(ctx, w)
	return nil
}

func (d *dev) banner(r devReady, took time.Duration) {
	rpc := "development chain, JSON-RPC at " + r.RPC
	if r.RPC == "" {
		rpc = "a node of yours"
	}
	d.facts([2]string{"API", r.URL}, [2]string{"chain", r.Chain + ", " + rpc}, [2]string{"client", r.Client + ", who signs with " + r.Signer},
		[2]string{"wallet", r.Wallet + " at " + r.Address}, [2]string{"profile", r.Profile + " (the client's credentials and signer key; for development alone)"})
	flag := ""
	if r.Profile != defaultProfile {
		flag = " --profile " + r.Profile
	}
	d.say("\nTry, in another terminal:\n")
	d.say("  aval message send transfer.v1 --to %s --amount '0.1 ether' --wait%s", someone, flag)
	d.say("  aval message list%s", flag)
	d.say("  aval wallet balance%s", flag)
	d.say("\nReady in %s. Ctrl-C stops it.", span(took))
}

// someone is an address to try a transfer to: that of no known key.
const someone = "0x00000000000000000000000000000000000A11cE"

// fund fills an empty wallet from the development chain's faucet.
func (d *dev) fund(ctx context.Context, w client.Wallet) {
	if d.running.dev == nil {
		return
	}
	view, err := viewChain(ctx, d.running.dev.URL())
	if err == nil {
		defer view.Close()
		err = view.fill(ctx, w.Address)
	}
	switch {
	case errors.Is(err, context.Canceled):
	case err != nil:
		d.note("The wallet could not be filled: %v; aval wallet fund %s tries again.", err, w.ID)
	case d.json:
		d.encode(d.out, map[string]string{"event": "funded", "wallet": w.ID})
	default:
		d.say("The wallet has coin.")
	}
}

// fill pays to an address that has nothing.
func (v *chainView) fill(ctx context.Context, address string) error {
	has, err := v.holds(ctx, "native", address)
	if err != nil || has.Sign() > 0 {
		return err
	}
	receipt, err := v.faucet(ctx, address, faucetWei())
	if err == nil && receipt.Status == 0 {
		err = fmt.Errorf("the faucet's transaction %s reverted", receipt.TxHash)
	}
	return err
}

// wait stays until the platform ends or is asked to.
func (r *running) wait(ctx context.Context, s *screen) error {
	select {
	case <-ctx.Done():
		s.note("Stopping; Ctrl-C again ends it at once.")
	case <-r.done: // end tells why
	}
	return nil
}
