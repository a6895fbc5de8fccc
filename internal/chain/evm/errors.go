package evm

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/ethereum/go-ethereum/rpc"

	"github.com/avalhq/aval/internal/problem"
)

// class is what a node's error means; metrics count by it.
type class string

const (
	none              class = ""
	unclear           class = "unclear"            // in words that answers does not know: it may have been taken
	refused           class = "refused"            // it will never be taken
	typeUnsupported   class = "type-unsupported"   // the chain does not know this kind of transaction
	alreadyKnown      class = "already-known"      // the node has these bytes
	nonceTooLow       class = "nonce-too-low"      // a mined transaction has the nonce: maybe this one
	nonceTooHigh      class = "nonce-too-high"     // one with an earlier nonce is missing
	nonceTaken        class = "nonce-taken"        // a waiting transaction has the nonce and this one does not pay enough to replace it
	underpriced       class = "underpriced"        // the fee is too low at present
	insufficientFunds class = "insufficient-funds" // the sender cannot pay for value and gas
	gasAllowance      class = "gas-allowance"      // estimate: the gas that the sender can pay for is too little, or no gas is enough
	gasTooLow         class = "gas-too-low"        // less than the transaction's bytes alone cost
	gasTooHigh        class = "gas-too-high"       // more than a block has, or than a transaction may have
	poolFull          class = "pool-full"          // the node keeps no more waiting transactions
	accountFull       class = "account-full"       // the node keeps no more of this sender
	reverted          class = "reverted"           // running it fails
	tooLarge          class = "too-large"          // more requests or bytes than the node takes in a round trip
	limited           class = "limited"            // asked too often
	unsupported       class = "unsupported"        // the node does not serve this method
	pruned            class = "pruned"             // the node does not keep what is so old
	behind            class = "behind"             // the node does not have what is so new yet
	busy              class = "busy"               // the node could not answer; what it has done is not known
	unreached         class = "unreached"          // no answer at all; what the node has done is not known
)

// elsewhere says whether another node may answer what this one did not.
func (c class) elsewhere() bool {
	return c == limited || c == unsupported || c == pruned || c == behind || c == busy || c == unreached
}

// single says whether an answer may concern one request alone, and not whatever the node is asked.
func (c class) single() bool { return c != limited && c != unsupported && c != unreached }

// doubtful says whether a transaction that was answered so may be in the pool or mined all the same: it has to be looked up (I5).
func (c class) doubtful() bool {
	return c == nonceTooLow || c == nonceTaken || c == unclear || c.elsewhere()
}

// classify says what a node's error means.
func classify(err error) class {
	if err == nil {
		return none
	}
	var coded rpc.Error
	if !errors.As(err, &coded) {
		return classifyTransport(err)
	}
	row, found := decisive(coded)
	switch {
	case !found:
		return unclear
	case row.class == gasAllowance:
		return allowance(err)
	}
	return row.class
}

// decisive is the first of answers that fits.
func decisive(err rpc.Error) (row answer, found bool) {
	text := strings.ToLower(err.Error())
	for _, row := range answers {
		if (row.code == 0 || row.code == err.ErrorCode()) && strings.Contains(text, row.phrase) {
			return row, true
		}
	}
	return answer{}, false
}

// classifyTransport is for errors that are no JSON-RPC answer.
func classifyTransport(err error) class {
	var status rpc.HTTPError
	switch {
	case errors.Is(err, rpc.ErrMissingBatchResponse): // the node answered a part of a batch
		return tooLarge
	case !errors.As(err, &status):
		return unreached
	}
	switch status.StatusCode {
	case http.StatusTooManyRequests, http.StatusPaymentRequired:
		return limited
	case http.StatusRequestEntityTooLarge:
		return tooLarge
	}
	return unreached
}

// allowance tells the two meanings of "gas required exceeds allowance (N)" apart: N is below the most gas that a transaction
// may have (EIP-7825) when the sender's coin is what limits it.
func allowance(err error) class {
	const mostGas = 1 << 24
	_, rest, _ := strings.Cut(strings.ToLower(err.Error()), "exceeds allowance")
	digits := strings.Trim(rest, " :()") // geth: "(N)"; anvil: ": N"
	if gas, err := strconv.ParseUint(digits, 10, 64); err != nil || gas < mostGas {
		return insufficientFunds
	}
	return reverted
}

// refusal is the problem for a request that the node answered with an error. what begins a sentence: "the transaction 0x…".
func (n *Network) refusal(err error, what string) error {
	said := shortened(err.Error())
	switch class := classify(err); class {
	case insufficientFunds:
		return caused(err, problem.Unprocessable, "insufficient-funds", "%s cannot be paid on %s: fund the sender with value and gas, then try again (the node says: %s)", what, n.ID(), said)
	case reverted:
		return caused(err, problem.Unprocessable, "execution-reverted", "%s fails on %s: %s", what, n.ID(), n.revertReason(err))
	case underpriced:
		return caused(err, problem.Unavailable, "transaction-underpriced", "%s offers less than %s asks at present: try again later, or with a higher fee (the node says: %s)", what, n.ID(), said)
	case nonceTooLow, nonceTaken:
		return caused(err, problem.Conflict, "transaction-refused", "%s was not sent on %s: another transaction of the sender has its nonce (the node says: %s)", what, n.ID(), said)
	case nonceTooHigh, poolFull, accountFull:
		return caused(err, problem.Unavailable, "chain-busy", "%s is not accepted on %s at present, %s: try again when earlier transactions are mined (the node says: %s)", what, n.ID(), crowded(class), said)
	case limited, unsupported, pruned, behind, busy, unreached, tooLarge:
		return n.unanswered(what, err)
	default:
		return caused(err, problem.Unprocessable, "transaction-refused", "%s was refused by the node of %s, which says: %s", what, n.ID(), said)
	}
}

// crowded says why a node takes a transaction later.
func crowded(c class) string {
	switch c {
	case nonceTooHigh:
		return "one with an earlier nonce is missing"
	case accountFull:
		return "too many of its sender wait"
	default:
		return "too many transactions wait"
	}
}

// unanswered is the problem for a question that a node could not answer. One that was never reached has its problem already.
func unanswered(name, what string, err error) error {
	if known := new(problem.Error); errors.As(err, &known) {
		return err
	}
	return caused(err, problem.Unavailable, "chain-unreachable", "the node at %s could not answer %s: try again; if it stays so, look at the node (it says: %s)", name, what, shortened(err.Error()))
}

func (n *Network) unanswered(what string, err error) error { return unanswered(n.names(), what, err) }

func caused(cause error, kind problem.Kind, code, format string, args ...any) error {
	p := problem.New(kind, code, format, args...)
	p.Cause = cause
	return p
}
