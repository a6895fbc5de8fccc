package step_test

import (
	"context"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/chain/evm"
	"github.com/avalhq/aval/internal/clients"
	"github.com/avalhq/aval/internal/custody/policy"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/wallet"
)

const (
	payer = "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"
	payee = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
)

// office builds and signs what it is asked to, and remembers it.
type office struct {
	chain.Network
	decisions
	built  []chain.Call
	change func(tx *chain.Unsigned) // what a node in between makes of a transaction
	signed []signer.Request
	asked  map[signer.Step]error // how steps stand that were asked for before
	broken error                 // of Withdraw
}

func (o *office) Withdraw(_ context.Context, steps []signer.Step, because error) error {
	for _, step := range steps {
		if _, is := o.asked[step]; is && o.broken == nil {
			o.asked[step] = because
		}
	}
	return o.broken
}

func (o *office) Asked(context.Context, []signer.Step) (map[signer.Step]error, error) {
	return o.asked, nil
}

func (o *office) Build(_ context.Context, calls []chain.Call) ([]chain.Unsigned, []error) {
	o.built = append(o.built, calls...)
	txs := make([]chain.Unsigned, len(calls))
	for i, c := range calls {
		txs[i] = chain.Unsigned{Chain: chainID, From: c.From, To: c.To, Value: c.Value, Data: c.Data, Gas: 21_000, Fee: big.NewInt(2), Tip: big.NewInt(1)}
		if o.change != nil {
			o.change(&txs[i])
		}
	}
	return txs, make([]error, len(calls))
}

func (o *office) Waits() bool { return true }

func (o *office) SignAll(_ context.Context, requests []signer.Request) ([]signer.Decision, []error) {
	o.signed = append(o.signed, requests...)
	decisions := make([]signer.Decision, len(requests))
	for i, r := range requests {
		decisions[i] = signer.Decision{Step: r.Step, Chain: chainID, Tx: r.Tx, Signed: chain.Signed{Hash: "0x01", Raw: []byte{1}}}
	}
	return decisions, make([]error, len(requests))
}

// order is a transfer of 100 by the wallet's owner, good until then.
func (o *office) order(expires time.Time) step.Task {
	return step.Task{State: "Sign", Record: &guarantee.Record{Verified: message.Verified{Message: message.Message{
		ID: message.NewID(), Type: "transfer.v1", Client: "cli_a", Chain: chainID, Expires: expires,
		Body: []byte(`{"wallet":"wal_a","to":"` + payee + `","asset":"native","amount":"100","memo":""}`),
	}}}}
}

func (o *office) sign(t *testing.T, now time.Time, fees chain.FeePolicies, tasks ...step.Task) []step.Outcome {
	t.Helper()
	rules, err := policy.Default()
	if err != nil {
		t.Fatal(err)
	}
	owner := desk{Client: clients.Client{ID: "cli_a"}, Wallet: wallet.Wallet{ID: "wal_a", Owner: "cli_a", Chain: chainID, Address: payer, Key: "key_a"}}
	gate := step.NewGate(rules, owner, drawer{owner}, func() time.Time { return now })
	return step.Sign(gate, o, step.Chains{chainID: {Network: o, Codec: evm.NewCodec(1337), Fees: fees, Lanes: o.l}}).Run(t.Context(), tasks)
}

// TestAnExpiredMessageIsNotSigned: it may have been parked for months. What was decided before is completed.
func TestAnExpiredMessageIsNotSigned(t *testing.T) {
	until := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		now     time.Time
		decided bool
		want    string
	}{
		"in time":                {until, false, ""},
		"too late":               {until.Add(time.Second), false, "message-expired"},
		"decided before the end": {until.Add(time.Hour), true, ""},
	} {
		o := &office{decisions: decisions{&ledger{}}}
		task := o.order(until)
		if test.decided {
			at := signer.Step{Message: task.Record.ID, State: "Sign"}
			o.l.signed = map[signer.Step]signer.Decision{at: {Step: at}}
		}
		out := o.sign(t, test.now, chain.FeePolicies{}, task)[0]
		if code(out.Err) != test.want || (test.want == "") != (len(o.signed) == 1) || len(o.l.told) != len(o.signed) || test.want != "" && len(o.built) > 0 {
			t.Errorf("%s: %v, built %d, signed %d", name, out.Err, len(o.built), len(o.signed))
		}
	}
}

// TestTheMessageTypesBudgetIsAskedFor: what is built is bound by the policy of its message type.
func TestTheMessageTypesBudgetIsAskedFor(t *testing.T) {
	o, budget := &office{decisions: decisions{&ledger{}}}, big.NewInt(7)
	o.sign(t, time.Now(), chain.FeePolicies{Types: map[string]chain.FeePolicy{"transfer.v1": {Budget: budget}}}, o.order(time.Now().Add(time.Hour)))
	if len(o.built) != 1 || o.built[0].Fees.Budget != budget {
		t.Errorf("built with %+v", o.built)
	}
}

// TestA12WhatWouldBeSignedIsWhatWasAskedFor: a transaction that became another one on its way is not signed.
func TestA12WhatWouldBeSignedIsWhatWasAskedFor(t *testing.T) {
	for name, change := range map[string]func(tx *chain.Unsigned){
		"receiver": func(tx *chain.Unsigned) { tx.To = payer },
		"amount":   func(tx *chain.Unsigned) { tx.Value = big.NewInt(101) },
		"data":     func(tx *chain.Unsigned) { tx.Data = []byte{1} },
	} {
		o := &office{decisions: decisions{&ledger{}}, change: change}
		if out := o.sign(t, time.Now(), chain.FeePolicies{}, o.order(time.Now().Add(time.Hour))); code(out[0].Err) != "policy-denied" || len(o.signed) > 0 {
			t.Errorf("another %s: %+v, signed %d", name, out[0], len(o.signed))
		}
	}
}

// TestWhatWasAskedForWaits: while a signing worker has not answered nothing is built and asked for again; a refusal reaches the
// message. What nobody has asked for yet is not held up by either.
func TestWhatWasAskedForWaits(t *testing.T) {
	o := &office{decisions: decisions{&ledger{}}}
	tasks := []step.Task{o.order(time.Now().Add(time.Hour)), o.order(time.Now().Add(time.Hour)), o.order(time.Now().Add(time.Hour))}
	o.asked = map[signer.Step]error{
		{Message: tasks[0].Record.ID, State: "Sign"}: signer.ErrUnanswered,
		{Message: tasks[1].Record.ID, State: "Sign"}: signer.ErrMismatch,
	}
	out := o.sign(t, time.Now(), chain.FeePolicies{}, tasks...)
	if out[0].Err != nil || out[0].Later != 2*time.Second || !errors.Is(out[1].Err, signer.ErrMismatch) || out[2].Err != nil || out[2].Output == nil {
		t.Errorf("the outcomes are %+v", out)
	}
	if len(o.built) != 1 || len(o.signed) != 1 || o.signed[0].Step.Message != tasks[2].Record.ID || o.signed[0].Until.IsZero() {
		t.Errorf("built %v, asked for %v; want the third alone, with its time", o.built, o.signed)
	}
}

// TestWhatIsOverdueIsWithdrawn: what was asked for is given up before the time-out is told, and what was not asked for is not asked for any
// more. What is decided is completed. What cannot be withdrawn is no time-out yet.
func TestWhatIsOverdueIsWithdrawn(t *testing.T) {
	now := time.Now()
	o := &office{decisions: decisions{&ledger{}}}
	asked, fresh, decided := o.order(now.Add(time.Hour)), o.order(now.Add(time.Hour)), o.order(now.Add(time.Hour))
	at := func(task step.Task) signer.Step { return signer.Step{Message: task.Record.ID, State: "Sign"} }
	o.asked, o.l.signed = map[signer.Step]error{at(asked): signer.ErrUnanswered}, map[signer.Step]signer.Decision{at(decided): {Step: at(decided)}}
	tasks := []step.Task{asked, fresh, decided}
	for i := range tasks {
		tasks[i].Overdue = true
	}
	o.broken = errors.New("the database is away")
	for i, out := range o.sign(t, now, chain.FeePolicies{}, tasks...) {
		if out.Err != nil || out.Later == 0 {
			t.Errorf("task %d, which could not be withdrawn: %+v; want it asked again", i, out)
		}
	}
	o.broken = nil
	out := o.sign(t, now, chain.FeePolicies{}, tasks...)
	for i, want := range []string{"States.Timeout", "States.Timeout", ""} {
		if code(out[i].Err) != want {
			t.Errorf("task %d: %v; want %q", i, out[i].Err, want)
		}
	}
	if len(o.signed) != 1 || o.signed[0].Step != at(decided) {
		t.Errorf("%+v was asked to be signed; want what is decided alone", o.signed)
	}
}

// TestEachWalletSignsInItsOwnLane where keys are waited for, so that one that is in use elsewhere holds up no other.
func TestEachWalletSignsInItsOwnLane(t *testing.T) {
	o := &office{}
	lane := step.Sign(nil, o, nil).Lane
	if got := lane(o.order(time.Time{})); got != "wal_a" {
		t.Errorf("the lane of wal_a's order is %q", got)
	}
	if step.Sign(nil, &signer.Pipeline{}, nil).Lane != nil {
		t.Error("where workers wait for the keys, requests are committed wallet by wallet")
	}
}
