package main

import (
	"context"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/internal/problem"
)

type walletCommands struct {
	Create  walletCreate  `cmd:"" help:"Create a wallet, or get the one of that name."`
	List    walletList    `cmd:"" help:"List wallets, oldest first."`
	Show    walletShow    `cmd:"" help:"Show a wallet."`
	Balance walletBalance `cmd:"" help:"Ask the chain what a wallet holds."`
	Fund    walletFund    `cmd:"" help:"Send coin from a development chain's faucet."`
}

// Help is shown by aval wallet --help.
func (walletCommands) Help() string {
	return `A wallet is an address whose key Aval holds, sealed. Where a command takes a wallet, none means the profile's.

    aval wallet create treasury
    aval wallet balance wal_… --asset erc20:0x…
    aval wallet fund wal_… --amount '5 ether'`
}

type walletCreate struct {
	Name  string `arg:"" help:"Its name, of which the owner has one on a chain."`
	Chain string `help:"The chain, such as eip155:1337. Without it: the one that there is." placeholder:"CHAIN"`
	Owner string `help:"The client that it is for; with --operator." placeholder:"CLIENT"`
}

// Run is the command.
func (c *walletCreate) Run(ctx context.Context, s *screen, a *access) error {
	api, err := a.asClient()
	if err != nil {
		return err
	}
	w, err := api.CreateWallet(ctx, client.NewWallet{Name: c.Name, Chain: c.Chain, Owner: c.Owner})
	if err == nil {
		s.wallet(w)
	}
	return err
}

func (s *screen) wallet(w client.Wallet) {
	s.answer(w, func() {
		s.facts([2]string{"wallet", w.ID}, [2]string{"name", w.Name}, [2]string{"address", w.Address}, [2]string{"chain", w.Chain},
			[2]string{"owner", w.Owner}, [2]string{"key", w.Key}, [2]string{"created", moment(w.Created)})
	})
}

type walletList struct{}

// Run is the command.
func (walletList) Run(ctx context.Context, s *screen, a *access) error {
	api, err := a.asClient()
	if err != nil {
		return err
	}
	all, err := api.Wallets(ctx)
	if err != nil {
		return err
	}
	s.answer(map[string]any{"wallets": append([]client.Wallet{}, all...)}, func() {
		var rows [][]string
		for _, w := range all {
			rows = append(rows, []string{w.ID, w.Name, w.Address, w.Chain, w.Owner, moment(w.Created)})
		}
		s.table([]string{"WALLET", "NAME", "ADDRESS", "CHAIN", "OWNER", "CREATED"}, rows, "There is no wallet yet; aval wallet create NAME makes one.")
	})
	return nil
}

// oneWallet names a wallet, or leaves it to the profile.
type oneWallet struct {
	ID string `arg:"" optional:"" name:"wallet" help:"The wallet's id. Without it: the profile's."`
}

// find connects and reads the wallet.
func (o oneWallet) find(ctx context.Context, a *access) (*client.Client, client.Wallet, error) {
	p, err := a.defaults()
	if err != nil {
		return nil, client.Wallet{}, err
	}
	if o.ID == "" {
		o.ID = p.Wallet
	}
	if o.ID == "" {
		return nil, client.Wallet{}, misused("wallet-missing", "say which wallet; aval wallet list shows those that there are")
	}
	api, err := a.asClient()
	if err != nil {
		return nil, client.Wallet{}, err
	}
	w, err := api.Wallet(ctx, o.ID)
	return api, w, err
}

type walletShow struct{ oneWallet }

// Run is the command.
func (c *walletShow) Run(ctx context.Context, s *screen, a *access) error {
	_, w, err := c.find(ctx, a)
	if err == nil {
		s.wallet(w)
	}
	return err
}

type walletBalance struct {
	oneWallet
	Asset string `default:"native" help:"The chain's own coin, native, or a token: erc20:0x…." placeholder:"ASSET"`
}

// Run is the command.
func (c *walletBalance) Run(ctx context.Context, s *screen, a *access) error {
	api, w, err := c.find(ctx, a)
	if err != nil {
		return err
	}
	amount, err := api.Balance(ctx, w.ID, c.Asset)
	if err != nil {
		return err
	}
	s.answer(map[string]string{"wallet": w.ID, "asset": c.Asset, "amount": amount}, func() { s.say("%s", showAmount(amount, c.Asset)) })
	return nil
}

type walletFund struct {
	oneWallet
	Amount string `default:"10 ether" help:"How much: digits of wei, or such as 5 ether." placeholder:"AMOUNT"`
}

// Run is the command.
func (c *walletFund) Run(ctx context.Context, s *screen, a *access) error {
	wei, err := readAmount(c.Amount, "native")
	if err != nil {
		return err
	}
	api, w, err := c.find(ctx, a)
	if err != nil {
		return err
	}
	view, err := viewOf(ctx, api, w.Chain)
	if err != nil {
		return err
	}
	defer view.Close()
	done := s.progress("waiting for the block")
	receipt, err := view.faucet(ctx, w.Address, wei)
	done()
	if err != nil {
		return err
	}
	if receipt.Status == 0 {
		return problem.New(problem.Unprocessable, "faucet-reverted", "the faucet's transaction %s reverted", receipt.TxHash)
	}
	v := map[string]any{"wallet": w.ID, "amount": wei.String(), "transaction": receipt.TxHash.Hex(), "block": receipt.BlockNumber.Uint64()}
	s.answer(v, func() {
		s.say("%s went to %s, in block %d.", showAmount(wei.String(), "native"), w.Address, receipt.BlockNumber.Uint64())
	})
	return nil
}
