// Package message is the signed envelope: what a client signs, how its bytes become a digest, and who signed it.
//
// It does no I/O. A Message is the decoded instruction; a Submission is the document a client PUTs: the scheme, the
// payload that was signed and the signature. A Catalog holds the message types (JSON Schema and EIP-712 struct of each)
// and turns a Submission into a Verified message or a refusal (A3 to A6 of the invariants).
package message

import (
	"encoding/json"
	"time"

	"github.com/ethereum/go-ethereum/common"
)

// Scheme is how the digest is made from the payload.
type Scheme string

// The schemes.
const (
	EIP712 Scheme = "eip712" // payload: an eth_signTypedData_v4 document
	EIP191 Scheme = "eip191" // payload: the message as JSON; signed is its RFC 8785 form as a personal message
)

// Message is a client's instruction, decoded. Everything in it is signed.
type Message struct {
	ID      ID              // issued by Aval before signing
	Type    string          // names schema and workflow: "transfer.v1"
	Client  string          // the client that the id was issued to: "cli_…"
	Chain   string          // CAIP-2 id of the chain it is meant for: "eip155:1337"
	Expires time.Time       // not accepted after this; whole seconds
	Body    json.RawMessage // by the type's schema; from Verify: complete, in one notation (see Verify), RFC 8785 canonical
}

// Submission is the document that a client sends.
type Submission struct {
	Scheme    Scheme          `json:"scheme"`
	Payload   json.RawMessage `json:"payload"`
	Signature string          `json:"signature"` // 0x and 65 bytes in hex: r, s, v; v is 27 or 28
}

// Verified is a submission whose shape and signature hold. Whether the signer may speak for the client is not its matter.
type Verified struct {
	Message
	Scheme   Scheme
	Digest   common.Hash    // what was signed; the deduplication key
	Signer   common.Address // recovered
	Original []byte         // the submission exactly as received
}

// Domain is the EIP-712 domain of an Aval installation.
type Domain struct {
	Name              string         `json:"name"`
	Version           string         `json:"version"`
	ChainID           uint64         `json:"chainId"`
	VerifyingContract common.Address `json:"verifyingContract"`
}
