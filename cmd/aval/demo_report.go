package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/internal/problem"
)

// demoReport is what the demo tells, as JSON.
type demoReport struct {
	Message     client.Record   `json:"message"`
	Transaction demoTransaction `json:"transaction"`
	Timeline    []timeline      `json:"timeline"`
	Balances    struct {
		Asset  string       `json:"asset"`
		Before demoBalances `json:"before"`
		After  demoBalances `json:"after"`
	} `json:"balances"`
	Chain demoChain `json:"chain"`
}

// demoTransaction is the transaction as the chain's JSON-RPC shows it.
type demoTransaction struct {
	Hash          string `json:"hash"`
	Status        string `json:"status"` // confirmed, mined (not deep enough), reverted or missing
	Block         uint64 `json:"block"`
	Confirmations uint64 `json:"confirmations"`
	From          string `json:"from"`
	To            string `json:"to"`
	Nonce         uint64 `json:"nonce"`
	GasUsed       uint64 `json:"gas_used"`
	Fee           string `json:"fee"` // in wei
}

// demoBalances are those of the two sides, in the asset's smallest unit.
type demoBalances struct {
	From string `json:"from"`
	To   string `json:"to"`
}

type demoChain struct {
	ID            string `json:"id"`
	RPC           string `json:"rpc"`
	Confirmations uint64 `json:"confirmations"`
	Head          uint64 `json:"head"`
}

// timeline is a step of a message's history as it is shown.
type timeline struct {
	State  string    `json:"state"`
	Event  string    `json:"event"`
	At     time.Time `json:"at"`
	After  float64   `json:"after_ms"` // since the message was accepted
	Took   float64   `json:"took_ms"`
	By     string    `json:"by"`
	Action string    `json:"action"`
	Note   string    `json:"note"`
}

func timelineOf(e client.Entry, begun time.Time) timeline {
	return timeline{State: e.State, Event: e.Event, At: e.At.UTC(), After: ms(e.At.Sub(begun)), Took: ms(e.Took), By: e.By, Action: e.Action, Note: e.Note}
}

// timelineWidths are wide enough for the workflows that ship; a longer cell moves the rest of its row.
var timelineWidths = []int{10, 10, 10, 8, 10, 0}

func timelineHeader() string {
	return aligned([]string{"STATE", "EVENT", "WHEN", "TOOK", "BY", "NOTE"}, timelineWidths)
}

// String is a row under timelineHeader.
func (t timeline) String() string {
	by := t.By
	switch {
	case t.Action != "":
		by = t.Action
	case strings.HasPrefix(by, "cli_"):
		by = "the client" // whose id is above
	}
	took := span(time.Duration(t.Took * float64(time.Millisecond)))
	return aligned([]string{t.State, t.Event, fmt.Sprintf("+%.3f s", t.After/1000), took, by, t.Note}, timelineWidths)
}

func hashOf(hex string) common.Hash { return common.HexToHash(hex) }

// balances asks the chain what both sides hold.
func (d *demo) balances(ctx context.Context, into *demoBalances) error {
	from, err := d.view.holds(ctx, d.asset, d.wallet.Address)
	if err != nil {
		return err
	}
	to, err := d.view.holds(ctx, d.asset, d.to)
	if err != nil {
		return err
	}
	d.report.Balances.Asset = d.asset
	into.From, into.To = from.String(), to.String()
	return nil
}

// check reads from the chain what has become of the transaction that the message names.
func (d *demo) check(ctx context.Context) error {
	var ext struct {
		Transaction struct {
			Hash string `json:"hash"`
		} `json:"transaction"`
	}
	if len(d.report.Message.Ext) > 0 {
		if err := json.Unmarshal(d.report.Message.Ext, &ext); err != nil {
			return fmt.Errorf("read what the message says of its transaction: %w", err)
		}
	}
	tx := &d.report.Transaction
	tx.Hash, tx.Status = ext.Transaction.Hash, "missing"
	if tx.Hash == "" {
		return nil // the verdict says that the message did not end well
	}
	sent, _, err := d.view.TransactionByHash(ctx, hashOf(tx.Hash))
	if err != nil {
		return fmt.Errorf("ask the chain for transaction %s: %w", tx.Hash, err)
	}
	receipt, err := d.view.mined(ctx, hashOf(tx.Hash))
	if err != nil {
		return err
	}
	head, err := d.view.BlockNumber(ctx)
	if err != nil {
		return err
	}
	tx.Block, tx.GasUsed, tx.Nonce, tx.From = receipt.BlockNumber.Uint64(), receipt.GasUsed, sent.Nonce(), d.wallet.Address
	tx.Fee = new(big.Int).Mul(receipt.EffectiveGasPrice, new(big.Int).SetUint64(receipt.GasUsed)).String()
	if sent.To() != nil {
		tx.To = sent.To().Hex()
	}
	d.report.Chain.Head, tx.Confirmations, tx.Status = head, head-tx.Block+1, "confirmed"
	if tx.Confirmations < d.report.Chain.Confirmations {
		tx.Status = "mined"
	}
	if receipt.Status == 0 {
		tx.Status = "reverted"
	}
	return d.balances(ctx, &d.report.Balances.After)
}

// verdict is nil when the message is archived and the chain itself shows the transfer.
func (d *demo) verdict() error {
	r := d.report
	switch {
	case !r.Message.Archived || r.Message.Status != client.Succeeded:
		return problem.New(problem.Unprocessable, "demo-failed", "the message ended as %s in %s: %s", r.Message.Status, r.Message.State, r.Message.Reason)
	case r.Transaction.Status != "confirmed":
		return problem.New(problem.Unprocessable, "demo-failed", "the message is archived, but the chain shows its transaction as %s", r.Transaction.Status)
	case change(r.Balances.Before.To, r.Balances.After.To).Cmp(d.amount) != 0:
		return problem.New(problem.Unprocessable, "demo-failed", "the message is archived, but the receiver's balance went from %s to %s", r.Balances.Before.To, r.Balances.After.To)
	}
	return nil
}

// change is the difference of two amounts; one that is missing counts as none.
func change(before, after string) *big.Int {
	b, _ := new(big.Int).SetString("0"+before, 10)
	a, _ := new(big.Int).SetString("0"+after, 10)
	return a.Sub(a, b)
}

// closing prints what there is to see at the end, and how to go on.
func (d *demo) closing(kept string) {
	r := d.report
	b := r.Balances
	d.say("\n%s", d.paint(grey, "The message, as Aval holds it"))
	d.facts([2]string{"message", r.Message.ID}, [2]string{"state", r.Message.State}, [2]string{"status", d.status(r.Message.Status)})
	d.say("\n%s", d.paint(grey, "The transaction, as the chain's own JSON-RPC shows it"))
	d.facts([2]string{"hash", r.Transaction.Hash},
		[2]string{"block", fmt.Sprintf("%d, %d confirmations (%d asked for)", r.Transaction.Block, r.Transaction.Confirmations, r.Chain.Confirmations)},
		[2]string{"status", r.Transaction.Status},
		[2]string{"fee", showAmount(r.Transaction.Fee, "native")},
		[2]string{"from", fmt.Sprintf("%s: %s before, %s after", d.wallet.Address, showAmount(b.Before.From, b.Asset), showAmount(b.After.From, b.Asset))},
		[2]string{"to", fmt.Sprintf("%s: %s before, %s after", d.to, showAmount(b.Before.To, b.Asset), showAmount(b.After.To, b.Asset))})
	d.say("\n%s", d.paint(grey, "How to do it by hand"))
	d.say("  %s", strings.Join([]string{
		"aval dev                        # in one terminal: the same platform, staying up, with a client and a wallet with coin",
		"aval message send transfer.v1 --to " + d.to + " --amount '1.5 ether' --wait   # in another",
		"aval message list               # what there is",
		"aval message history MESSAGE    # and each step of one",
	}, "\n  "))
	if kept != "" {
		d.say("\nEverything was left in %s.", kept)
	}
}
