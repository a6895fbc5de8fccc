package evm

import (
	"errors"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/avalhq/aval/internal/problem"
)

// answer is an error as a node sends it.
type answer struct {
	code    int
	message string
	data    any
}

func (a answer) Error() string  { return a.message }
func (a answer) ErrorCode() int { return a.code }
func (a answer) ErrorData() any { return a.data }

// answers are what nodes say, each with what it means. Every entry of codes and phrases decides at least one.
var answers = []struct {
	answer
	want class
}{
	{answer{code: -32000, message: "already known"}, alreadyKnown},
	{answer{code: -32010, message: "AlreadyKnown"}, alreadyKnown},
	{answer{code: -32000, message: "Known transaction"}, alreadyKnown},
	{answer{code: -32003, message: "transaction already imported"}, alreadyKnown},
	{answer{code: -32000, message: "unknown transaction type 2"}, refused},
	{answer{code: -32000, message: "replacement transaction underpriced"}, nonceTaken},
	{answer{code: -32000, message: "nonce too low: next nonce 5, tx nonce 4"}, nonceTooLow},
	{answer{code: -32010, message: "OldNonce, Current nonce: 5, nonce of rejected tx: 4"}, nonceTooLow},
	{answer{code: -38010, message: "whatever"}, nonceTooLow},
	{answer{code: -32000, message: "max fee per gas less than block base fee: address 0x00, maxFeePerGas: 1, baseFee: 7"}, underpriced},
	{answer{code: -32000, message: "transaction underpriced: tip needed 1, tip permitted 0"}, underpriced},
	{answer{code: -32009, message: "Gas price below configured minimum gas price"}, underpriced},
	{answer{code: -32000, message: "transaction gas price below minimum: gas tip cap 0, minimum needed 1"}, underpriced},
	{answer{code: -32000, message: "priority fee is below minimum"}, underpriced},
	{answer{code: -32010, message: "FeeTooLow, MaxFeePerGas too low"}, underpriced},
	{answer{code: -38012, message: "whatever"}, underpriced},
	{answer{code: -32000, message: "insufficient funds for gas * price + value: address 0x00 have 0 want 1"}, insufficientFunds},
	{answer{code: -32000, message: "Insufficient funds for gas * price + value"}, insufficientFunds},
	{answer{code: -32010, message: "InsufficientFunds, Account balance: 0"}, insufficientFunds},
	{answer{code: -32004, message: "Upfront cost exceeds account balance"}, insufficientFunds},
	{answer{code: -38014, message: "whatever"}, insufficientFunds},
	{answer{code: -32000, message: "gas required exceeds allowance (0)"}, insufficientFunds},
	{answer{code: -32000, message: "gas required exceeds allowance (20999)"}, insufficientFunds},
	{answer{code: -32000, message: "gas required exceeds allowance (16777216)"}, reverted},
	{answer{code: 3, message: "anything"}, reverted},
	{answer{code: -32000, message: "execution reverted"}, reverted},
	{answer{code: -32603, message: "VM Exception while processing transaction: revert no"}, reverted},
	{answer{code: -32000, message: "invalid opcode: INVALID"}, reverted},
	{answer{code: -32000, message: "invalid jump destination"}, reverted},
	{answer{code: -32000, message: "stack underflow (0 <=> 1)"}, reverted},
	{answer{code: -32000, message: "write protection"}, reverted},
	{answer{code: -32000, message: "out of gas"}, reverted},
	{answer{code: -32005, message: "whatever"}, busy},
	{answer{code: -32002, message: "whatever"}, busy},
	{answer{code: -38026, message: "whatever"}, busy},
	{answer{code: -32000, message: "txpool is full"}, busy},
	{answer{code: -32000, message: "transaction indexing is in progress"}, busy},
	{answer{code: -32000, message: "header not found"}, busy},
	{answer{code: -32000, message: "missing trie node 0b (path 0c)"}, busy},
	{answer{code: -32603, message: "Internal error"}, busy},
	{answer{code: -32097, message: "Rate limit reached"}, busy},
	{answer{code: 429, message: "Too Many Requests"}, busy},
	{answer{code: -32000, message: "the request timed out"}, busy},
	{answer{code: -32000, message: "upstream timeout"}, busy},
	{answer{code: -32000, message: "rlp: expected input list for types.DynamicFeeTx"}, refused},
	{answer{code: -32000, message: "exceeds block gas limit"}, refused},
	{answer{code: -32000, message: "invalid sender"}, refused},
}

func TestWhatNodesSayIsUnderstood(t *testing.T) {
	usedCodes, usedPhrases := make(map[int]bool), make(map[string]bool)
	for _, a := range answers {
		if got := classify(a.answer); got != a.want {
			t.Errorf("%d %q is class %d, not %d", a.code, a.message, got, a.want)
		}
		if _, known := codes[a.code]; known {
			usedCodes[a.code] = true
			continue
		}
		for _, phrase := range phrases {
			if strings.Contains(strings.ToLower(a.message), phrase.text) {
				usedPhrases[phrase.text] = true
				break
			}
		}
	}
	for code := range codes {
		if !usedCodes[code] {
			t.Errorf("no test for the code %d", code)
		}
	}
	for _, phrase := range phrases {
		if !usedPhrases[phrase.text] {
			t.Errorf("no test that %q decides", phrase.text)
		}
	}
	if classify(nil) != none {
		t.Error("no error is classified")
	}
}

func TestEveryClassIsAProblemWithASentence(t *testing.T) {
	n, err := Open(Config{URL: "http://127.0.0.1:1", ChainID: 1})
	if err != nil {
		t.Fatal(err)
	}
	want := map[class]*problem.Error{
		nonceTooLow: {Kind: problem.Conflict, Code: "transaction-refused"}, nonceTaken: {Kind: problem.Conflict, Code: "transaction-refused"},
		underpriced: {Kind: problem.Unavailable, Code: "transaction-underpriced"}, busy: {Kind: problem.Unavailable, Code: "chain-unreachable"},
		insufficientFunds: {Kind: problem.Unprocessable, Code: "insufficient-funds"}, reverted: {Kind: problem.Unprocessable, Code: "execution-reverted"},
		refused: {Kind: problem.Unprocessable, Code: "transaction-refused"},
	}
	for _, a := range answers {
		if a.want == alreadyKnown {
			continue // a success
		}
		p := problem.From(n.refusal(a.answer, "the transaction 0x12"))
		if !errors.Is(p, want[a.want]) {
			t.Errorf("%q is %s %s, not %+v", a.message, p.Kind, p.Code, want[a.want])
		}
		if !errors.As(p, new(answer)) || !strings.Contains(p.Detail, "the transaction 0x12") {
			t.Errorf("the cause or what was tried is missing in %q", p.Detail)
		}
	}
}

func TestRevertReasonsAreDecoded(t *testing.T) {
	// Error("no"), Panic(0x11) and ERC6093's ERC20InvalidReceiver(address), as the Solidity ABI encodes them.
	text := "0x08c379a0" + strings.Repeat("0", 62) + "20" + strings.Repeat("0", 63) + "2" + "6e6f" + strings.Repeat("0", 60)
	panicked := "0x4e487b71" + strings.Repeat("0", 62) + "11"
	custom := hexutil.Encode(append(selector("ERC20InvalidReceiver(address)"), common.LeftPadBytes(nil, 32)...))
	for _, test := range []struct {
		data any
		want string
	}{
		{text, `the contract says "no"`},
		{map[string]any{"data": text}, `the contract says "no"`},
		{panicked, `the contract says "arithmetic underflow or overflow"`},
		{custom, "the contract's error 0xec442f05"},
		{nil, `the node says "execution reverted"`},
		{"0x", `the node says "execution reverted"`},
		{"nonsense", `the node says "execution reverted"`},
		{12, `the node says "execution reverted"`},
	} {
		if got := revertReason(answer{code: 3, message: "execution reverted", data: test.data}); got != test.want {
			t.Errorf("%v is told as %q, not %q", test.data, got, test.want)
		}
	}
}
