package evm

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/rpc"

	"github.com/avalhq/aval/internal/problem"
)

// said is an error as a node sends it.
type said struct {
	code    int
	message string
	data    any
}

func (a said) Error() string  { return a.message }
func (a said) ErrorCode() int { return a.code }
func (a said) ErrorData() any { return a.data }

func (row answer) error() said {
	code := row.code
	if code == 0 {
		code = -32000 // which most nodes use for most refusals
	}
	return said{code: code, message: row.said}
}

// TestWhatNodesSayIsUnderstood: each row of the table decides about its own example, so no row is hidden by an earlier one.
func TestWhatNodesSayIsUnderstood(t *testing.T) {
	for _, row := range answers {
		t.Run(string(row.class)+" "+row.said, func(t *testing.T) {
			if got, _ := decisive(row.error()); got != row {
				t.Errorf("another row decides: %+v", got)
			}
			if got := classify(row.error()); got != row.class && row.class != gasAllowance {
				t.Errorf("it is understood as %s, not %s", got, row.class)
			}
			if row.phrase != strings.ToLower(row.phrase) || row.source == "" || row.phrase == "" && row.code == 0 {
				t.Errorf("the row is not complete: %+v", row)
			}
		})
	}
}

// TestWordsGoBeforeCodes: what one node means by a code another means otherwise, and then the words tell.
func TestWordsGoBeforeCodes(t *testing.T) {
	for _, test := range []struct {
		said
		want class
	}{
		{said{code: -32005, message: "Transaction gas limit exceeds block gas limit"}, gasTooHigh},
		{said{code: -32005, message: "project ID request rate exceeded"}, limited},
		{said{code: -32002, message: "Invalid signature"}, refused},
		{said{code: -32002, message: "request timed out"}, busy},
		{said{code: -32007, message: "Sender account not authorized to send transactions"}, refused},
		{said{code: -32009, message: "Gas price below configured minimum gas price"}, underpriced},
		{said{code: -32004, message: "Upfront cost exceeds account balance"}, insufficientFunds},
		{said{code: -32603, message: "nonce too low"}, nonceTooLow},
		{said{code: -32603, message: "VM Exception while processing transaction: revert no"}, reverted},
		{said{code: -32000, message: "gas required exceeds allowance (0)"}, insufficientFunds},
		{said{code: -32000, message: "gas required exceeds allowance (20999)"}, insufficientFunds},
		{said{code: -32000, message: "gas required exceeds allowance (16777216)"}, reverted},
		{said{code: -32003, message: "Out of gas: gas required exceeds allowance: 0"}, insufficientFunds},
		{said{code: -32000, message: "words of a node that nobody has seen"}, unclear},
	} {
		if got := classify(test.said); got != test.want {
			t.Errorf("%d %q is %s, not %s", test.code, test.message, got, test.want)
		}
	}
	for err, want := range map[error]class{
		rpc.ErrMissingBatchResponse: tooLarge, io.ErrUnexpectedEOF: unreached, context.DeadlineExceeded: unreached, nil: none,
	} {
		if got := classify(err); got != want {
			t.Errorf("%v is %q, not %q", err, got, want)
		}
	}
	for status, want := range map[int]class{429: limited, 402: limited, 413: tooLarge, 401: unreached, 502: unreached} {
		if got := classify(rpc.HTTPError{StatusCode: status}); got != want {
			t.Errorf("the status %d is %q, not %q", status, got, want)
		}
	}
}

func TestEveryClassIsAProblemWithASentence(t *testing.T) {
	n, err := newNetwork(Config{URLs: []string{"http://127.0.0.1:1"}, ChainID: 1})
	if err != nil {
		t.Fatal(err)
	}
	n.begin()
	never := &problem.Error{Kind: problem.Unprocessable, Code: "transaction-refused"}
	taken := &problem.Error{Kind: problem.Conflict, Code: "transaction-refused"}
	later := &problem.Error{Kind: problem.Unavailable, Code: "chain-busy"}
	again := &problem.Error{Kind: problem.Unavailable, Code: "chain-unreachable"}
	poor := &problem.Error{Kind: problem.Unprocessable, Code: "insufficient-funds"}
	fails := &problem.Error{Kind: problem.Unprocessable, Code: "execution-reverted"}
	want := map[class]*problem.Error{
		refused: never, typeUnsupported: never, gasTooLow: never, gasTooHigh: never, unclear: never,
		nonceTooLow: taken, nonceTaken: taken, nonceTooHigh: later, poolFull: later, accountFull: later,
		underpriced: {Kind: problem.Unavailable, Code: "transaction-underpriced"}, insufficientFunds: poor, reverted: fails,
		gasAllowance: fails, // of the example
		limited:      again, unsupported: again, pruned: again, behind: again, busy: again, tooLarge: again,
	}
	for _, row := range answers {
		if row.class == alreadyKnown {
			continue // a success
		}
		p := problem.From(n.refusal(row.error(), "the transaction 0x12"))
		if !errors.Is(p, want[row.class]) {
			t.Errorf("%q is %s %s, not %+v", row.said, p.Kind, p.Code, want[row.class])
		}
		if !errors.As(p, new(said)) || !strings.Contains(p.Detail, "the transaction 0x12") {
			t.Errorf("the cause or what was tried is missing in %q", p.Detail)
		}
	}
}
