// Package chain says what Aval needs of a blockchain. The chains themselves are below: evm, with its devchain.
//
// Amounts are in the chain's smallest unit (wei). Addresses and hashes are strings in the chain's own notation, checked by
// Address; a chain is named by its CAIP-2 id ("eip155:1337").
package chain

import (
	"context"
	"math/big"
)

// Call is a wish: what a transaction should do. It has no nonce and no fee yet.
type Call struct {
	From  string
	To    string
	Value *big.Int // native coin; nil is 0
	Data  []byte
	Fees  FeePolicy // what it may cost

	Declared bool // the data is declared to call a function: without a contract at To it is refused, whatever value goes with it
}

// Unsigned is a transaction that is complete but for nonce and signature. It is stored as JSON with the decision.
type Unsigned struct {
	Chain  string   `json:"chain"`
	From   string   `json:"from"`
	To     string   `json:"to"`
	Value  *big.Int `json:"value"`
	Data   []byte   `json:"data,omitempty"`
	Gas    uint64   `json:"gas"`
	Fee    *big.Int `json:"fee"`              // most to pay per unit of gas
	Tip    *big.Int `json:"tip"`              // of that, for the block's builder; null when Legacy
	Legacy bool     `json:"legacy,omitempty"` // one gas price (Fee) and no tip
}

// Signed is a transaction ready to be sent: its bytes never change again (I13).
type Signed struct {
	Hash string
	Raw  []byte
}

// Decoded is what signed bytes say.
type Decoded struct {
	Tx    Unsigned // From is recovered from the signature
	Nonce uint64
	Hash  string
}

// State is where a sent transaction stands.
type State string

// The states.
const (
	Unknown State = "unknown" // the node does not have it
	Pending State = "pending" // the node has it, no block does
	Mined   State = "mined"   // in a canonical block
)

// Status is what the chain says of a transaction.
type Status struct {
	State   State
	Head    uint64 // the newest block of who says so; of several nodes the least: one that is behind what it is asked about knows nothing
	Success bool   // mined and not reverted
	Block   uint64 // number of its block
	Hash    string // of its block
	Depth   uint64 // blocks on top of it, itself included: 1 when in the head block
	GasUsed uint64
	Fee     *big.Int // paid in total
}

// Account is an address's state.
type Account struct {
	Balance *big.Int // native coin, at the head
	Nonce   uint64   // transactions mined
	Pending uint64   // mined and waiting in the node's pool
}

// Network is the port to a chain's nodes. Errors are problems: chain-unreachable (Unavailable, try again),
// chain-busy (Unavailable: the sender's coin is spoken for by its waiting transactions, an earlier nonce is missing, or the
// node's pool is full), transaction-underpriced
// (Unavailable: the same bytes may do later), fee-too-high and fee-budget-exceeded (Unavailable: above a limit of the call's
// FeePolicy), gas-above-limit (it needs more gas than a block has), chain-mismatch (the node
// serves another chain), insufficient-funds, execution-reverted, transaction-refused (another transaction has the nonce, or the
// node will never take it), token-unknown, address-invalid (or the node knows no contract at an address that is called: it may be
// new, and the node late), hash-invalid, amount-invalid. Durability, ordering and consistency are the chain's own. Batches are
// one round trip. Its suite is chaintest.
type Network interface {
	// ID is the CAIP-2 id; the first contact with the node checks it.
	ID() string
	// Head is the number of the newest block.
	Head(ctx context.Context) (uint64, error)
	// Account reads an address.
	Account(ctx context.Context, address string) (Account, error)
	// Token reads an ERC-20 balance.
	Token(ctx context.Context, contract, address string) (*big.Int, error)
	// Build estimates gas and prices it by each call's FeePolicy. One error a call, nil where it could be built.
	Build(ctx context.Context, calls []Call) ([]Unsigned, []error)
	// Send broadcasts stored bytes. That the node has them already counts as sent. One error a transaction.
	Send(ctx context.Context, raw [][]byte) []error
	// Status looks transactions up by hash. Unknown is an answer, not an error.
	Status(ctx context.Context, hashes []string) ([]Status, error)
}

// Codec is a chain's transaction format: pure functions, no node needed. Refusals: address-invalid, public-key-invalid,
// amount-invalid, transaction-invalid (incomplete, or for another chain), signature-invalid.
type Codec interface {
	// Address checks an address and gives its canonical notation.
	Address(s string) (string, error)
	// AddressOf is the address that an uncompressed public key (65 bytes) controls.
	AddressOf(public []byte) (string, error)
	// Digest is what the key has to sign for the transaction with this nonce.
	Digest(tx Unsigned, nonce uint64) ([]byte, error)
	// Assemble puts the signature (r, s, recovery id: 65 bytes) in and checks that it recovers to tx.From.
	Assemble(tx Unsigned, nonce uint64, signature []byte) (Signed, error)
	// Decode reads signed bytes and recovers their sender. What Aval would not have made is refused (A3, A9, A10).
	Decode(raw []byte) (Decoded, error)
	// TransferToken is the call data of an ERC-20 transfer.
	TransferToken(to string, amount *big.Int) ([]byte, error)
}
