package step_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/clients"
	"github.com/avalhq/aval/internal/custody/policy"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/wallet"
)

const chainID = "eip155:1337"

// ledger is a chain as one test has it, and what was decided to be signed for it.
type ledger struct {
	chain.Network
	statuses map[string]chain.Status // by hash; what is not here is unknown
	refuses  map[string]error        // by hash
	sent     []string
	signed   map[signer.Step]signer.Decision
	forgot   error // what Replay answers
}

func (l *ledger) Replay(_ context.Context, tx chain.Unsigned, status chain.Status) (string, error) {
	return fmt.Sprintf("%s in block %d is too much", tx.Value, status.Block), l.forgot
}

func (l *ledger) Status(_ context.Context, hashes []string) ([]chain.Status, error) {
	statuses := make([]chain.Status, len(hashes))
	for i, hash := range hashes {
		if !strings.HasPrefix(hash, "0x") {
			return nil, problem.New(problem.Invalid, "hash-invalid", "no hash")
		}
		if statuses[i] = l.statuses[hash]; statuses[i].State == "" {
			statuses[i].State = chain.Unknown
		}
	}
	return statuses, nil
}

func (l *ledger) Send(_ context.Context, raw [][]byte) []error {
	errs := make([]error, len(raw))
	for i := range raw {
		l.sent = append(l.sent, string(raw[i]))
		errs[i] = l.refuses[string(raw[i])]
	}
	return errs
}

func (l *ledger) Find(_ context.Context, steps []signer.Step) (map[signer.Step]signer.Decision, error) {
	found := map[signer.Step]signer.Decision{}
	for _, s := range steps {
		if d, ok := l.signed[s]; ok {
			found[s] = d
		}
	}
	return found, nil
}

// task is a message at a state that is given a transaction; the stored bytes of a transaction are its hash.
func (l *ledger) task(hash string) step.Task {
	rec := &guarantee.Record{Verified: message.Verified{Message: message.Message{ID: message.NewID(), Chain: chainID}}}
	if l.signed == nil {
		l.signed = map[signer.Step]signer.Decision{}
	}
	l.signed[signer.Step{Message: rec.ID, State: "Sign"}] = signer.Decision{Signed: chain.Signed{Hash: hash, Raw: []byte(hash)}}
	return step.Task{Record: rec, State: "Now", Arguments: json.RawMessage(fmt.Sprintf(`{"transaction": {"state": "Sign", "hash": %q}}`, hash))}
}

func (l *ledger) confirm(t *testing.T, tasks ...step.Task) []step.Outcome {
	t.Helper()
	return step.Confirm(step.Chains{chainID: {Network: l, Replayer: l, Confirmations: 2}}, l, time.Second).Run(t.Context(), tasks)
}

// desk is a client and a wallet as one test has them.
type desk struct {
	clients.Client
	wallet.Wallet
}

func (d desk) Get(context.Context, string) (clients.Client, error) { return d.Client, nil }

type drawer struct{ desk }

func (d drawer) Get(context.Context, string) (wallet.Wallet, error) { return d.Wallet, nil }

// TestADenialAfterTheSignatureIsNoRefusal: the client was disabled, and the message replayed; "refused" would be a lie, and an
// invitation to pay again.
func TestADenialAfterTheSignatureIsNoRefusal(t *testing.T) {
	rules, err := policy.Default()
	if err != nil {
		t.Fatal(err)
	}
	disabled := desk{Client: clients.Client{ID: "cli_a", Disabled: true}}
	l := &ledger{}
	authorize := step.Authorize(step.NewGate(rules, disabled, drawer{disabled}, time.Now), l)
	signed := l.task("0x01")
	signed.Begun = []string{"Sign", "Send"}
	begun := l.task("0x02")
	begun.Begun = []string{"Sign"}
	delete(l.signed, signer.Step{Message: begun.Record.ID, State: "Sign"})
	out := authorize.Run(t.Context(), []step.Task{signed, begun, l.task("0x03")})
	if code(out[0].Err) != "denied-too-late" || code(out[1].Err) != "client-disabled" || code(out[2].Err) != "client-disabled" {
		t.Errorf("signed, begun only, new: %v; %v; %v", out[0].Err, out[1].Err, out[2].Err)
	}
}

func code(err error) string {
	if err == nil {
		return ""
	}
	return problem.From(err).Code
}

var mined = chain.Status{State: chain.Mined, Success: true, Block: 7, Depth: 2, Fee: big.NewInt(1)}

func TestI18ATaskThatNamesNoTransactionFailsAlone(t *testing.T) {
	l := &ledger{statuses: map[string]chain.Status{"0x01": mined}}
	good, none, odd := l.task("0x01"), l.task("0x02"), l.task("not hex")
	none.Arguments = json.RawMessage(`{}`)
	sent := step.Send(step.Chains{chainID: {Network: l}}, l, nil).Run(t.Context(), []step.Task{none, good})
	if code(sent[0].Err) != "arguments-invalid" || sent[1].Err != nil || len(l.sent) != 1 {
		t.Errorf("sent %q: %v and %v", l.sent, sent[0].Err, sent[1].Err)
	}
	confirmed := l.confirm(t, none, odd, good)
	if code(confirmed[0].Err) != "arguments-invalid" || code(confirmed[1].Err) != "hash-invalid" || confirmed[2].Err != nil || confirmed[2].Output == nil {
		t.Errorf("confirmed: %+v", confirmed)
	}
}

// TestI12WhatTheNodeLostIsSentAgain, and what it will never take is not waited for.
func TestI12WhatTheNodeLostIsSentAgain(t *testing.T) {
	for refusal, want := range map[string]string{"": "", "insufficient-funds": "", "chain-unreachable": "", "transaction-refused": "transaction-refused"} {
		l := &ledger{refuses: map[string]error{}}
		lost := l.task("0x01")
		if refusal != "" {
			l.refuses["0x01"] = problem.New(problem.Conflict, refusal, "no")
		}
		out := l.confirm(t, lost)[0]
		if len(l.sent) != 1 || code(out.Err) != want || (want == "") != (out.Later > 0) {
			t.Errorf("the node says %q to bytes that it had lost: sent %d times, %+v", refusal, len(l.sent), out)
		}
	}
	l := &ledger{}
	unsigned := l.task("0x01")
	clear(l.signed)
	if out := l.confirm(t, unsigned)[0]; code(out.Err) != "transaction-unsigned" {
		t.Errorf("what was never signed: %+v", out)
	}
}

func TestI14ConfirmedIsDeepEnough(t *testing.T) {
	reverted, shallow := mined, mined
	reverted.Success, shallow.Depth = false, 1
	l := &ledger{statuses: map[string]chain.Status{"0x01": mined, "0x02": shallow, "0x03": {State: chain.Pending}, "0x04": reverted}}
	out := l.confirm(t, l.task("0x01"), l.task("0x02"), l.task("0x03"), l.task("0x04"))
	if out[0].Output == nil || out[0].Later != 0 || out[1].Later == 0 || out[2].Later == 0 || code(out[3].Err) != "execution-reverted" || len(l.sent) != 0 {
		t.Errorf("deep, shallow, pending, reverted: %+v", out)
	}
	reverted.Depth = 1 // a reorganisation can still undo it
	l.statuses["0x04"] = reverted
	if again := l.confirm(t, l.task("0x04"))[0]; again.Err != nil || again.Later == 0 {
		t.Errorf("reverted and shallow: %+v", again)
	}
}

// TestARevertIsToldWithReasonBlockAndFee: the nonce and the fee are spent, and the receipt says on what.
func TestARevertIsToldWithReasonBlockAndFee(t *testing.T) {
	status := mined
	status.Success, status.Hash, status.GasUsed, status.Fee = false, "0xb1", 30_000, big.NewInt(60_000)
	for name, test := range map[string]struct {
		forgot error
		want   string
	}{
		"explained":    {nil, "the transaction 0x01 was mined in block 7 and reverted: 5 in block 7 is too much; it used 30000 units of gas and cost 60000 wei"},
		"not any more": {errors.New("missing trie node"), "reverted: the node cannot say why (missing trie node); it used"},
	} {
		l := &ledger{statuses: map[string]chain.Status{"0x01": status}, forgot: test.forgot}
		task := l.task("0x01")
		at := signer.Step{Message: task.Record.ID, State: "Sign"}
		d := l.signed[at]
		d.Tx.Value = big.NewInt(5)
		l.signed[at] = d
		out := l.confirm(t, task)[0]
		details, err := json.Marshal(out.Output)
		if err != nil || code(out.Err) != "execution-reverted" || !strings.Contains(out.Err.Error(), test.want) ||
			string(details) != `{"block":7,"block_hash":"0xb1","confirmations":2,"gas_used":30000,"fee":"60000"}` {
			t.Errorf("%s: %v with %s (%v)", name, out.Err, details, err)
		}
	}
}
