package client

import (
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"io/fs"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/schemas"
)

// Scheme is how a message is signed.
type Scheme string

// The schemes.
const (
	EIP712 Scheme = "eip712" // typed data, which a wallet shows field by field
	EIP191 Scheme = "eip191" // a personal message: the canonical JSON of the message
)

// Message is an instruction to be signed. Everything in it is part of what is signed.
type Message struct {
	ID      string    // from IssueIDs
	Type    string    // "transfer.v1"
	Client  string    // from IssueIDs
	Chain   string    // CAIP-2, "eip155:1337"
	Expires time.Time // not accepted afterwards; cut to whole seconds
	Body    any       // what the type's schema wants; anything that encodes to such JSON
}

// Transfer is the body of a transfer.v1.
type Transfer struct {
	Wallet string `json:"wallet"`         // id of the custody wallet that pays
	To     string `json:"to"`             // address that is paid
	Asset  string `json:"asset"`          // "native", or "erc20:" and the token's address
	Amount string `json:"amount"`         // in the asset's smallest unit
	Memo   string `json:"memo,omitempty"` //
}

// Signer makes the 65-byte signature (r, s, v) of a digest. The key behind it may be anywhere.
type Signer func(digest [32]byte) ([]byte, error)

// KeySigner signs with a key in memory.
func KeySigner(key *ecdsa.PrivateKey) Signer {
	return func(digest [32]byte) ([]byte, error) { return crypto.Sign(digest[:], key) }
}

// Types are the message types that can be signed. It is immutable and safe for concurrent use.
type Types struct{ catalog *message.Catalog }

// ShippedTypes are those that come with Aval.
func ShippedTypes() (*Types, error) { return LoadTypes(schemas.FS()) }

// LoadTypes reads the schemas of an installation with types of its own: one file <type>.json each.
func LoadTypes(fsys fs.FS) (*Types, error) {
	catalog, err := message.NewCatalog(fsys)
	if err != nil {
		return nil, err
	}
	return &Types{catalog}, nil
}

// Sign makes the bytes to be submitted.
func (t *Types) Sign(m Message, scheme Scheme, domain Domain, sign Signer) ([]byte, error) {
	body, err := json.Marshal(m.Body)
	if err != nil {
		return nil, fmt.Errorf("encode the body of the message: %w", err)
	}
	return t.catalog.Submission(message.Message{
		ID: message.ID(m.ID), Type: m.Type, Client: m.Client, Chain: m.Chain, Expires: m.Expires.Truncate(time.Second), Body: body,
	}, message.Scheme(scheme), message.Domain{
		Name: domain.Name, Version: domain.Version, ChainID: domain.ChainID, VerifyingContract: common.HexToAddress(domain.VerifyingContract),
	}, func(digest common.Hash) ([]byte, error) { return sign(digest) })
}
