package evm

import (
	"errors"
	"net/url"
	"strconv"
	"strings"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/avalhq/aval/internal/problem"
)

// class is what a node's error means.
type class uint8

const (
	none              class = iota
	refused                 // the node will never take it
	alreadyKnown            // the node has these bytes
	nonceTooLow             // a mined transaction has the nonce: maybe this one
	nonceTaken              // a waiting transaction has the nonce and this one does not pay enough to replace it
	underpriced             // the fee is too low at present
	insufficientFunds       // the sender cannot pay for value and gas
	gasAllowance            // estimate: the gas that the sender can pay for is too little, or no gas is enough
	reverted                // running it fails
	busy                    // the node cannot answer now
)

// codes maps the JSON-RPC codes that have one meaning. Most nodes answer most refusals with -32000, which has none.
// -380xx are those of the execution API's eth_simulateV1, which go-ethereum uses more widely.
var codes = map[int]class{
	3:      reverted,
	-32005: busy, // EIP-1474: limit exceeded
	-32002: busy, // EIP-1474: resource unavailable; go-ethereum: timed out
	-38010: nonceTooLow,
	-38012: underpriced,
	-38014: insufficientFunds,
	-38026: busy,
}

// phrases maps what nodes say, in lower case, where the code says nothing. The first that is contained decides, so the more
// specific stand first.
var phrases = []struct {
	text  string
	class class
}{
	{"unknown transaction", refused},    // "…type": no "known transaction"
	{"already known", alreadyKnown},     // go-ethereum, Erigon, Reth, Anvil
	{"alreadyknown", alreadyKnown},      // Nethermind
	{"known transaction", alreadyKnown}, // Besu, old go-ethereum
	{"already imported", alreadyKnown},  // Anvil, OpenEthereum
	{"replacement transaction underpriced", nonceTaken},
	{"nonce too low", nonceTooLow},
	{"oldnonce", nonceTooLow}, // Nethermind
	{"max fee per gas less than block base fee", underpriced},
	{"underpriced", underpriced},
	{"gas price below", underpriced}, // Besu: "below configured minimum gas price" begins with it
	{"below minimum", underpriced},
	{"feetoolow", underpriced}, // Nethermind
	{"insufficient funds", insufficientFunds},
	{"insufficientfunds", insufficientFunds},    // Nethermind
	{"upfront cost exceeds", insufficientFunds}, // Besu
	{"gas required exceeds allowance", gasAllowance},
	{"execution reverted", reverted},
	{"revert", reverted}, // Hardhat: "VM Exception while processing transaction: revert…"
	{"invalid opcode", reverted},
	{"invalid jump destination", reverted},
	{"stack underflow", reverted},
	{"write protection", reverted},
	{"out of gas", reverted},
	{"txpool is full", busy},
	{"indexing is in progress", busy}, // go-ethereum after a start
	{"header not found", busy},        // a node behind a balancer that is late
	{"missing trie node", busy},       // the same: it has not the state of that block
	{"rate limit", busy},
	{"too many requests", busy},
	{"timed out", busy},
	{"timeout", busy},
}

// internalError is JSON-RPC's code for a failure of the server. Nodes that execute say it of a revert, too, in words.
const internalError = -32603

// classify says what a node's error means; what is unknown is a refusal, unless the node blames itself.
func classify(err error) class {
	if err == nil {
		return none
	}
	var coded rpc.Error
	unknown := refused
	if errors.As(err, &coded) {
		if class, ok := codes[coded.ErrorCode()]; ok {
			return class
		}
		if coded.ErrorCode() == internalError {
			unknown = busy
		}
	}
	text := strings.ToLower(err.Error())
	for _, phrase := range phrases {
		if strings.Contains(text, phrase.text) {
			if phrase.class == gasAllowance {
				return allowance(text)
			}
			return phrase.class
		}
	}
	return unknown
}

// allowance tells the two meanings of "gas required exceeds allowance (N)" apart: N is below the most gas that a transaction
// may have (EIP-7825) when the sender's coin is what limits it.
func allowance(text string) class {
	const mostGas = 1 << 24
	_, rest, _ := strings.Cut(text, "allowance (")
	digits, _, _ := strings.Cut(rest, ")")
	if gas, err := strconv.ParseUint(digits, 10, 64); err != nil || gas < mostGas {
		return insufficientFunds
	}
	return reverted
}

// refusal is the problem for a request that the node answered with an error. what begins a sentence: "the transaction 0x…".
func (n *Network) refusal(err error, what string) error {
	said := shortened(err.Error())
	switch classify(err) {
	case insufficientFunds:
		return caused(err, problem.Unprocessable, "insufficient-funds", "%s cannot be paid on %s: fund the sender with value and gas, then try again (the node says: %s)", what, n.ID(), said)
	case reverted:
		return caused(err, problem.Unprocessable, "execution-reverted", "%s fails on %s: %s", what, n.ID(), revertReason(err))
	case underpriced:
		return caused(err, problem.Unavailable, "transaction-underpriced", "%s offers less than %s asks at present: try again later, or with a higher fee (the node says: %s)", what, n.ID(), said)
	case nonceTooLow, nonceTaken:
		return caused(err, problem.Conflict, "transaction-refused", "%s was not sent on %s: another transaction of the sender has its nonce (the node says: %s)", what, n.ID(), said)
	case busy:
		return n.unanswered(what, err)
	default:
		return caused(err, problem.Unprocessable, "transaction-refused", "%s was refused by the node of %s, which says: %s", what, n.ID(), said)
	}
}

// unanswered is the problem for a question that the node could not answer.
func (n *Network) unanswered(what string, err error) error {
	return caused(err, problem.Unavailable, "chain-unreachable", "the node at %s could not answer %s: try again; if it stays so, look at the node (it says: %s)", n.endpoint, what, shortened(err.Error()))
}

// unreachable is the problem for a node that did not answer at all. The cause is freed of the URL, which may hold credentials.
func (n *Network) unreachable(err error) error {
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	said := shortened(err.Error())
	var status rpc.HTTPError
	if errors.As(err, &status) { // its body can be anything
		said = status.Status
		err = errors.New(said)
	}
	return caused(err, problem.Unavailable, "chain-unreachable", "the node at %s cannot be reached: start it, or correct the chain's endpoint in the configuration (%s)", n.endpoint, said)
}

func caused(cause error, kind problem.Kind, code, format string, args ...any) error {
	p := problem.New(kind, code, format, args...)
	p.Cause = cause
	return p
}

// revertReason reads Error(string), Panic(uint256) or the selector of a custom error out of the node's answer.
func revertReason(err error) string {
	var data rpc.DataError
	if errors.As(err, &data) {
		raw := revertData(data.ErrorData())
		if reason, unpacked := abi.UnpackRevert(raw); unpacked == nil {
			return "the contract says " + strconv.Quote(shortened(reason))
		}
		if len(raw) >= 4 {
			return "the contract's error " + hexutil.Encode(raw[:4])
		}
	}
	return "the node says " + strconv.Quote(shortened(err.Error()))
}

// revertData finds the bytes: a hex string, or an object that holds one (Hardhat).
func revertData(data any) []byte {
	if object, ok := data.(map[string]any); ok {
		data = object["data"]
	}
	text, _ := data.(string)
	raw, _ := hexutil.Decode(text)
	return raw
}
