package main

import (
	"math/big"
	"testing"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/internal/problem"
)

func TestTheDemoFailsUnlessTheChainShowsTheTransfer(t *testing.T) {
	good := func() *demo {
		d := &demo{amount: big.NewInt(5)}
		d.report.Message = client.Record{Archived: true, Status: client.Succeeded}
		d.report.Transaction.Status = "confirmed"
		d.report.Balances.Before, d.report.Balances.After = demoBalances{From: "10", To: "1"}, demoBalances{From: "4", To: "6"}
		return d
	}
	if err := good().verdict(); err != nil {
		t.Errorf("what went well is told as %v", err)
	}
	for name, spoil := range map[string]func(*demoReport){
		"not archived":      func(r *demoReport) { r.Message.Archived = false },
		"refused":           func(r *demoReport) { r.Message.Status = client.Failed },
		"no transaction":    func(r *demoReport) { r.Transaction.Status = "missing" },
		"not deep enough":   func(r *demoReport) { r.Transaction.Status = "mined" },
		"reverted":          func(r *demoReport) { r.Transaction.Status = "reverted" },
		"nothing received":  func(r *demoReport) { r.Balances.After.To = "1" },
		"received twice":    func(r *demoReport) { r.Balances.After.To = "11" },
		"balance not asked": func(r *demoReport) { r.Balances.After = demoBalances{} },
	} {
		d := good()
		spoil(&d.report)
		if err := d.verdict(); err == nil || problem.From(err).Code != "demo-failed" {
			t.Errorf("%s: the demo says %v", name, err)
		}
	}
}
