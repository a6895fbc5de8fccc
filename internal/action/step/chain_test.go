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
	"github.com/avalhq/aval/internal/transaction"
	"github.com/avalhq/aval/internal/wallet"
)

const chainID = "eip155:1337"

// ledger is the lanes of a chain as one test has them.
type ledger struct {
	fates   map[string]transaction.Transaction // by hash of the first attempt; what is not here has no fate
	offered []string
	told    []string // hashes of what was signed
	signed  map[signer.Step]signer.Decision
	forgot  error // what Replay answers
}

func (l *ledger) Replay(_ context.Context, tx chain.Unsigned, status chain.Status) (string, error) {
	return fmt.Sprintf("%s in block %d is too much", tx.Value, status.Block), l.forgot
}

func (l *ledger) Offer(_ context.Context, steps []signer.Step) []error {
	errs := make([]error, len(steps))
	for _, s := range steps {
		l.offered = append(l.offered, l.signed[s].Signed.Hash)
	}
	return errs
}

func (l *ledger) Signed(decisions []signer.Decision) {
	for _, d := range decisions {
		l.told = append(l.told, d.Signed.Hash)
	}
}

func (l *ledger) Find(_ context.Context, steps []signer.Step) (map[signer.Step]transaction.Transaction, error) {
	found := map[signer.Step]transaction.Transaction{}
	for _, s := range steps {
		if d, ok := l.signed[s]; ok {
			t := l.fates[d.Signed.Hash]
			t.Attempts = append([]transaction.Attempt{{Kind: transaction.First, Tx: d.Tx, Signed: d.Signed}}, t.Attempts...)
			found[s] = t
		}
	}
	return found, nil
}

// decisions are those of the ledger.
type decisions struct{ l *ledger }

func (d decisions) Find(_ context.Context, steps []signer.Step) (map[signer.Step]signer.Decision, error) {
	found := map[signer.Step]signer.Decision{}
	for _, s := range steps {
		if decision, ok := d.l.signed[s]; ok {
			found[s] = decision
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

func (l *ledger) chains() step.Chains { return step.Chains{chainID: {Lanes: l, Replayer: l}} }

func (l *ledger) confirm(t *testing.T, tasks ...step.Task) []step.Outcome {
	t.Helper()
	return step.Confirm(l.chains()).Run(t.Context(), tasks)
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
	authorize := step.Authorize(step.NewGate(rules, disabled, drawer{disabled}, time.Now), decisions{l})
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

func TestI18ATaskThatNamesNoTransactionFailsAlone(t *testing.T) {
	l := &ledger{fates: map[string]transaction.Transaction{"0x01": {Fate: confirmed}}}
	good, none := l.task("0x01"), l.task("0x02")
	none.Arguments = json.RawMessage(`{}`)
	sent := step.Send(l.chains()).Run(t.Context(), []step.Task{none, good})
	if code(sent[0].Err) != "arguments-invalid" || sent[1].Err != nil || len(l.offered) != 1 || l.offered[0] != "0x01" {
		t.Errorf("offered %q: %v and %v", l.offered, sent[0].Err, sent[1].Err)
	}
	out := l.confirm(t, none, good)
	if code(out[0].Err) != "arguments-invalid" || out[1].Err != nil || out[1].Output == nil {
		t.Errorf("confirmed: %+v", out)
	}
	undecided := l.task("0x03")
	clear(l.signed)
	if out := l.confirm(t, undecided)[0]; code(out.Err) != "transaction-unsigned" {
		t.Errorf("what was never decided: %+v", out)
	}
}

var confirmed = transaction.Fate{Status: transaction.Confirmed, Success: true, Block: 7}

// TestI14ConfirmFollowsTheDecision: whichever of its attempts was mined says what became of the message.
func TestI14ConfirmFollowsTheDecision(t *testing.T) {
	shallow, reverted, second := confirmed, confirmed, confirmed
	shallow.Status, reverted.Success, second.Attempt = transaction.Mined, false, 1
	raise := transaction.Attempt{Number: 1, Kind: transaction.Raise, Signed: chain.Signed{Hash: "0xaa"}}
	noop := transaction.Attempt{Number: 1, Kind: transaction.NoOp, Signed: chain.Signed{Hash: "0xbb"}, By: "alice", Why: "a court order"}
	raised := transaction.Attempt{Number: 1, Kind: transaction.Raise, Signed: chain.Signed{Hash: "0xcc"}, By: "alice", Why: "a court order"}
	l := &ledger{fates: map[string]transaction.Transaction{
		"0x01": {Fate: confirmed}, "0x02": {Fate: shallow}, "0x04": {Fate: reverted}, "0x05": {Fate: second, Attempts: []transaction.Attempt{raise}},
		"0x06": {Fate: second, Attempts: []transaction.Attempt{noop}}, "0x07": {Fate: confirmed, Attempts: []transaction.Attempt{noop}},
		"0x08": {Fate: transaction.Fate{Status: transaction.Lost}}, "0x09": {Fate: transaction.Fate{Status: transaction.Lost}, Settled: true},
		"0x0a": {Fate: transaction.Fate{Status: transaction.Unknown}}, "0x0b": {Fate: transaction.Fate{Status: transaction.Unknown}, Settled: true},
		"0x0c": {Fate: transaction.Fate{Status: transaction.Sent}, Attempts: []transaction.Attempt{raised}},
	}}
	for hash, want := range map[string]string{
		"0x01": `"hash":"0x01"`, "0x02": "later", "0x03": "later", "0x04": "execution-reverted", "0x05": `"hash":"0xaa"`,
		"0x06": "transaction-cancelled", "0x07": `"hash":"0x07"`, "0x08": "key-foreign-use", "0x09": "transaction-superseded",
		"0x0a": "transaction-outcome-unknown", "0x0b": "transaction-outcome-unknown",
		"0x0c": "later",
	} {
		out := l.confirm(t, l.task(hash))[0]
		got := code(out.Err)
		if raw, err := json.Marshal(out.Output); out.Err == nil && err == nil {
			got = string(raw)
		}
		if out.Later > 0 {
			got = "later"
		}
		if !strings.Contains(got, want) || got == "" {
			t.Errorf("%s: %+v; want %s", hash, out, want)
		}
		if told := fmt.Sprint(out.Note, out.Err); strings.Contains(told, "court") { // a client reads both
			t.Errorf("%s: told is an operator's reason: %s", hash, told)
		}
	}
}

// TestARevertIsToldWithReasonBlockAndFee: the nonce and the fee are spent, and the receipt says on what.
func TestARevertIsToldWithReasonBlockAndFee(t *testing.T) {
	fate := transaction.Fate{Status: transaction.Confirmed, Block: 7, Hash: "0xb1", GasUsed: 30_000, Fee: big.NewInt(60_000)}
	for name, test := range map[string]struct {
		forgot error
		want   string
	}{
		"explained":    {nil, "the transaction 0x01 was mined in block 7 and reverted: 5 in block 7 is too much; it used 30000 units of gas and cost 60000 wei"},
		"not any more": {errors.New("missing trie node"), "reverted: the node cannot say why (missing trie node); it used"},
	} {
		l := &ledger{fates: map[string]transaction.Transaction{"0x01": {Fate: fate}}, forgot: test.forgot}
		task := l.task("0x01")
		at := signer.Step{Message: task.Record.ID, State: "Sign"}
		d := l.signed[at]
		d.Tx.Value = big.NewInt(5)
		l.signed[at] = d
		out := l.confirm(t, task)[0]
		details, err := json.Marshal(out.Output)
		if err != nil || code(out.Err) != "execution-reverted" || !strings.Contains(out.Err.Error(), test.want) ||
			string(details) != `{"hash":"0x01","block":7,"block_hash":"0xb1","gas_used":30000,"fee":"60000"}` {
			t.Errorf("%s: %v with %s (%v)", name, out.Err, details, err)
		}
	}
}
