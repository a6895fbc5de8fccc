package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/internal/problem"
)

type txCommands struct {
	List    txList    `cmd:"" help:"List the open transactions by lane, or those of a message (operator)."`
	Show    txShow    `cmd:"" help:"Show a transaction with its attempts and what happened to it (operator)."`
	Why     txWhy     `cmd:"" help:"Say why a transaction is pending, and what to do (operator)."`
	Bump    txBump    `cmd:"" help:"Offer more for a transaction, now (operator)."`
	Cancel  txCancel  `cmd:"" help:"Spend a transaction's nonce on nothing, now (operator)."`
	Resend  txResend  `cmd:"" help:"Give the node a transaction's stored bytes once more (operator)."`
	Resolve txResolve `cmd:"" help:"Say what an unknown transaction's nonce was spent on (operator)."`
}

// Help is shown by aval tx --help.
func (txCommands) Help() string {
	return `A transaction is a nonce of a lane, which is a key on a chain. It is named by key and nonce, by the hash of any of its attempts, or by its message. What is pending is looked after by itself; these commands show it, and do at once what would be done later.

    aval tx list
    aval tx why msg_…
    aval tx bump key_…:7
    aval tx cancel 0x… --reason 'paid by another way'`
}

type txList struct {
	Message string `help:"Those of a message."`
	Hash    string `help:"The one with an attempt of this hash."`
	Key     string `help:"The open ones of one lane."`
}

// Run is the command.
func (c *txList) Run(ctx context.Context, s *screen, a *access) error {
	api, err := a.asOperator()
	if err != nil {
		return err
	}
	all, err := api.Transactions(ctx, client.TransactionQuery{Message: c.Message, Hash: c.Hash, Key: c.Key})
	if err != nil {
		return err
	}
	s.answer(map[string]any{"transactions": append([]client.Transaction{}, all...)}, func() {
		var rows [][]string
		for _, t := range all {
			newest := t.Attempts[len(t.Attempts)-1]
			rows = append(rows, []string{t.ID, t.Status, fmt.Sprint(len(t.Attempts)), newest.Kind, newest.Fee, newest.Hash, t.Message, t.Halted})
		}
		s.table([]string{"TRANSACTION", "STATUS", "ATTEMPTS", "NEWEST", "FEE PER GAS", "HASH", "MESSAGE", "HALTED"}, rows, "No transaction is open.")
	})
	return nil
}

// byTransaction names one transaction.
type byTransaction struct {
	Transaction string `arg:"" help:"Key and nonce (key_…:7), the hash of an attempt, or the message."`
}

// find gives the id of the transaction that is named.
func (b byTransaction) find(ctx context.Context, api *client.Client) (string, error) {
	q := client.TransactionQuery{Hash: b.Transaction}
	switch {
	case strings.HasPrefix(b.Transaction, "key_"):
		return b.Transaction, nil
	case strings.HasPrefix(b.Transaction, "msg_"):
		q = client.TransactionQuery{Message: b.Transaction}
	}
	found, err := api.Transactions(ctx, q)
	switch {
	case err != nil:
		return "", err
	case len(found) == 0:
		return "", problem.New(problem.NotFound, "transaction-unknown", "nothing was decided to be signed for %s; aval message why %s says where it stands", b.Transaction, b.Transaction)
	case len(found) > 1:
		return "", misused("transaction-ambiguous", "the message %s has %d transactions; aval tx list --message %s shows them", b.Transaction, len(found), b.Transaction)
	}
	return found[0].ID, nil
}

// on finds the transaction and does something with it.
func (b byTransaction) on(ctx context.Context, a *access, do func(api *client.Client, id string) (client.Transaction, error)) (client.Transaction, error) {
	api, err := a.asOperator()
	if err != nil {
		return client.Transaction{}, err
	}
	id, err := b.find(ctx, api)
	if err != nil {
		return client.Transaction{}, err
	}
	return do(api, id)
}

type txShow struct{ byTransaction }

// Run is the command.
func (c *txShow) Run(ctx context.Context, s *screen, a *access) error {
	t, err := c.on(ctx, a, func(api *client.Client, id string) (client.Transaction, error) { return api.Transaction(ctx, id) })
	if err == nil {
		s.transaction(t)
	}
	return err
}

// transaction prints all about one.
func (s *screen) transaction(t client.Transaction) {
	s.answer(t, func() {
		s.facts([2]string{"transaction", t.ID}, [2]string{"message", t.Message}, [2]string{"status", t.Status}, [2]string{"chain", t.Chain}, [2]string{"from", t.From},
			[2]string{"to", t.To}, [2]string{"value", t.Value}, [2]string{"calls", calls(t)}, [2]string{"block", blockOf(t)}, [2]string{"fee paid", t.Fee}, [2]string{"halted", t.Halted})
		s.say("%s", "")
		var rows [][]string
		for _, a := range t.Attempts {
			mark := ""
			if t.Mined != nil && *t.Mined == a.Number {
				mark = "mined"
			}
			rows = append(rows, []string{fmt.Sprint(a.Number), a.Kind, a.Fee, a.Hash, mark, a.By, a.Why})
		}
		s.table([]string{"ATTEMPT", "KIND", "FEE PER GAS", "HASH", "", "BY", "WHY"}, rows, "")
		rows = nil
		for _, e := range t.Events {
			rows = append(rows, []string{moment(e.At), e.What, e.By, e.Why})
		}
		if len(rows) > 0 {
			s.say("%s", "")
			s.table([]string{"WHEN", "EVENT", "BY", "WHY"}, rows, "")
		}
		s.say("%s", "")
		s.because(t)
	})
}

// calls is what a transaction calls, as far as it can be read.
func calls(t client.Transaction) string {
	if t.Call == nil {
		return ""
	}
	return t.Call.Function + " " + string(t.Call.Args)
}

func blockOf(t client.Transaction) string {
	switch {
	case t.Block == 0:
		return ""
	case t.Success != nil && !*t.Success:
		return fmt.Sprintf("%d, reverted", t.Block)
	}
	return fmt.Sprint(t.Block)
}

// because prints why it is where it is.
func (s *screen) because(t client.Transaction) {
	s.say("%s", t.Sentence)
	for _, fact := range t.Facts {
		s.say("%s", fact)
	}
	if t.Remedy != "" {
		s.say("%s", t.Remedy)
	}
}

type txWhy struct{ byTransaction }

// Run is the command.
func (c *txWhy) Run(ctx context.Context, s *screen, a *access) error {
	t, err := c.on(ctx, a, func(api *client.Client, id string) (client.Transaction, error) { return api.Transaction(ctx, id) })
	if err == nil {
		s.answer(t, func() { s.because(t) })
	}
	return err
}

// replacing is how to replace a transaction.
type replacing struct {
	byTransaction
	Fee    string `placeholder:"AMOUNT" help:"Most to pay for a unit of gas, such as 30 gwei. Without it: what the chain asks, within the fee policy of the message's type. With it no policy counts."`
	Tip    string `placeholder:"AMOUNT" help:"Of the fee, for the block's builder. Without it: all of the fee."`
	Reason string `help:"A sentence for whoever looks at the attempt."`
}

func (r *replacing) replacement() (client.Replacement, error) {
	out := client.Replacement{Reason: r.Reason}
	for text, into := range map[*string]*string{&r.Fee: &out.Fee, &r.Tip: &out.Tip} {
		if *text == "" {
			continue
		}
		n, err := readAmount(*text, "native")
		if err != nil {
			return out, err
		}
		*into = n.String()
	}
	return out, nil
}

type txBump struct{ replacing }

// Help is shown by aval tx bump --help.
func (txBump) Help() string {
	return `One more attempt is decided, signed and sent, with the same recipient, value and data, that offers at least a tenth more. Nodes take the dearest; the chain mines one.

    aval tx bump key_…:7
    aval tx bump msg_… --fee '40 gwei' --tip '2 gwei' --reason 'payday'`
}

// Run is the command.
func (c *txBump) Run(ctx context.Context, s *screen, a *access) error {
	r, err := c.replacement()
	if err != nil {
		return err
	}
	t, err := c.on(ctx, a, func(api *client.Client, id string) (client.Transaction, error) {
		return api.BumpTransaction(ctx, id, r)
	})
	if err == nil {
		s.transaction(t)
	}
	return err
}

type txCancel struct{ replacing }

// Help is shown by aval tx cancel --help.
func (txCancel) Help() string {
	return `A signed transaction cannot be taken back. One more attempt with its nonce is decided, signed and sent, that sends nothing to the own address and offers more. Whichever of them the chain mines decides what became of the message: a cancellation can come too late, and the message then says so.

    aval tx cancel key_…:7 --reason 'paid by another way'`
}

// Run is the command.
func (c *txCancel) Run(ctx context.Context, s *screen, a *access) error {
	r, err := c.replacement()
	if err != nil {
		return err
	}
	t, err := c.on(ctx, a, func(api *client.Client, id string) (client.Transaction, error) {
		return api.CancelTransaction(ctx, id, r)
	})
	if err == nil {
		s.transaction(t)
	}
	return err
}

type txResend struct{ byTransaction }

// Run is the command.
func (c *txResend) Run(ctx context.Context, s *screen, a *access) error {
	t, err := c.on(ctx, a, func(api *client.Client, id string) (client.Transaction, error) { return api.ResendTransaction(ctx, id) })
	if err == nil {
		s.transaction(t)
	}
	return err
}

type txResolve struct {
	byTransaction
	Hash     string `xor:"what" required:"" placeholder:"0x…" help:"Hash of the attempt that has spent the nonce."`
	Foreign  bool   `xor:"what" required:"" help:"It was spent on something that Aval did not decide."`
	Block    uint64 `help:"The block that holds that attempt; it has to be given with --hash."`
	Reverted bool   `help:"It was undone there."`
	Reason   string `required:"" help:"Where you have found that out. It is kept under your name."`
}

// Help is shown by aval tx resolve --help.
func (txResolve) Help() string {
	return `A transaction is unknown when the chain has spent its nonce and no node keeps what on. It may be made, so nothing is signed again and its message is parked. A node that keeps more, added to chain.url, settles it by itself. Otherwise look the address and the nonce up in an explorer of the chain, and say what you find; what the nodes still tell is held against it.

Then resume the message: it succeeds or fails by what you have said. The key is let go on by aval key acknowledge, before or after.

    aval tx resolve key_…:7 --hash 0x… --block 8123456 --reason 'the explorer shows it, successful'
    aval tx resolve key_…:7 --foreign --reason 'the explorer shows a transfer by the old system'`
}

// Run is the command.
func (c *txResolve) Run(ctx context.Context, s *screen, a *access) error {
	if (c.Hash != "") != (c.Block > 0) {
		return misused("verdict-incomplete", "with --hash say by --block which block holds that attempt, and with --foreign leave it out")
	}
	v := client.Verdict{Hash: c.Hash, Foreign: c.Foreign, Block: c.Block, Reverted: c.Reverted, Reason: c.Reason}
	t, err := c.on(ctx, a, func(api *client.Client, id string) (client.Transaction, error) {
		return api.ResolveTransaction(ctx, id, v)
	})
	if err == nil {
		s.transaction(t)
	}
	return err
}
