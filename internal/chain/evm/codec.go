package evm

import (
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/problem"
)

// Codec is the transaction format of one EVM chain. It is immutable.
type Codec struct {
	chainID uint64
	signer  types.Signer
}

var _ chain.Codec = (*Codec)(nil)

// NewCodec is the format of the chain with this EIP-155 chain id, which is not 0.
func NewCodec(chainID uint64) *Codec {
	return &Codec{chainID: chainID, signer: types.NewLondonSigner(new(big.Int).SetUint64(chainID))}
}

// ID is the chain's CAIP-2 id.
func (c *Codec) ID() string { return caip(c.chainID) }

// Digest is what the key has to sign. The chain id is part of it (A9, A10).
func (c *Codec) Digest(tx chain.Unsigned, nonce uint64) ([]byte, error) {
	inner, err := c.transaction(tx, nonce)
	if err != nil {
		return nil, err
	}
	return c.signer.Hash(inner).Bytes(), nil
}

// Assemble puts the signature in: signature-invalid unless it is low-s and tx.From's.
func (c *Codec) Assemble(tx chain.Unsigned, nonce uint64, signature []byte) (chain.Signed, error) {
	unsigned, err := c.transaction(tx, nonce)
	if err != nil {
		return chain.Signed{}, err
	}
	if err := checkSignature(signature); err != nil {
		return chain.Signed{}, err
	}
	signed, err := unsigned.WithSignature(c.signer, signature)
	if err != nil {
		return chain.Signed{}, signatureInvalid("cannot be read: %w", err)
	}
	from, err := types.Sender(c.signer, signed)
	if err != nil {
		return chain.Signed{}, signatureInvalid("recovers to no address: %w", err)
	}
	if from != common.HexToAddress(tx.From) {
		return chain.Signed{}, signatureInvalid("is by %s and not by the sender %s", from.Hex(), tx.From)
	}
	raw, err := signed.MarshalBinary()
	if err != nil {
		return chain.Signed{}, err
	}
	return chain.Signed{Hash: signed.Hash().Hex(), Raw: raw}, nil
}

// checkSignature refuses the shapes that A3 and A6 name.
func checkSignature(signature []byte) error {
	if len(signature) != crypto.SignatureLength {
		return signatureInvalid("has %d bytes: r, s and a recovery id of 0 or 1, 65 together, are expected", len(signature))
	}
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:64])
	if !crypto.ValidateSignatureValues(signature[64], r, s, true) {
		return signatureInvalid("has r or s out of range, a high s, or a recovery id other than 0 and 1")
	}
	return nil
}

func signatureInvalid(format string, args ...any) error {
	return problem.New(problem.Unprocessable, "signature-invalid", "the transaction's signature "+format, args...)
}

// transaction checks what is to be signed and gives it go-ethereum's form.
func (c *Codec) transaction(tx chain.Unsigned, nonce uint64) (*types.Transaction, error) {
	if tx.Chain != c.ID() {
		return nil, transactionInvalid("is for chain %q and not for %s", tx.Chain, c.ID())
	}
	if _, err := parseAddress(tx.From); err != nil {
		return nil, err
	}
	to, err := parseAddress(tx.To)
	if err != nil {
		return nil, err
	}
	value, fee, tip := orZero(tx.Value), orZero(tx.Fee), orZero(tx.Tip)
	for _, amount := range []*big.Int{value, fee, tip} {
		if amount.Sign() < 0 || amount.BitLen() > 256 {
			return nil, transactionInvalid("has an amount below 0 or above 2^256-1")
		}
	}
	if tx.Gas == 0 || fee.Sign() == 0 || tip.Cmp(fee) > 0 {
		return nil, transactionInvalid("has no gas, no fee, or a tip above its fee: build it again")
	}
	if tx.Legacy {
		if tip.Sign() != 0 {
			return nil, transactionInvalid("has one gas price and a tip beside it: build it again")
		}
		return types.NewTx(&types.LegacyTx{Nonce: nonce, To: &to, Value: value, Data: tx.Data, Gas: tx.Gas, GasPrice: fee}), nil
	}
	return types.NewTx(&types.DynamicFeeTx{
		ChainID: new(big.Int).SetUint64(c.chainID), Nonce: nonce, To: &to, Value: value, Data: tx.Data,
		Gas: tx.Gas, GasFeeCap: fee, GasTipCap: tip,
	}), nil
}

func transactionInvalid(format string, args ...any) error {
	return problem.New(problem.Unprocessable, "transaction-invalid", "the transaction "+format, args...)
}

// Decode reads signed bytes. Whatever Aval would not have made is refused: no or another chain id (A9, A10), an authorisation
// list (A10), blobs, an access list, a contract creation, a high s (A3).
func (c *Codec) Decode(raw []byte) (chain.Decoded, error) {
	var tx types.Transaction
	if err := tx.UnmarshalBinary(raw); err != nil {
		return chain.Decoded{}, transactionInvalid("cannot be decoded: %w", err)
	}
	if err := c.ours(&tx); err != nil {
		return chain.Decoded{}, err
	}
	from, err := types.Sender(c.signer, &tx)
	if err != nil {
		return chain.Decoded{}, signatureInvalid("recovers to no address: %w", err)
	}
	price := chain.Price{Fee: tx.GasFeeCap(), Tip: tx.GasTipCap()}
	if tx.Type() == types.LegacyTxType {
		price = chain.Price{Fee: tx.GasPrice(), Legacy: true}
	}
	inner := chain.Unsigned{Chain: c.ID(), From: from.Hex(), To: tx.To().Hex(), Value: tx.Value(), Data: tx.Data(), Gas: tx.Gas()}
	return chain.Decoded{Tx: inner.Priced(price), Nonce: tx.Nonce(), Hash: tx.Hash().Hex()}, nil
}

// ours refuses what Aval does not make.
func (c *Codec) ours(tx *types.Transaction) error {
	switch {
	case tx.Type() == types.SetCodeTxType:
		return transactionInvalid("has an EIP-7702 authorization list (type 4), which hands the account over to a contract: Aval never signs or sends one")
	case tx.Type() == types.BlobTxType:
		return transactionInvalid("carries blobs (EIP-4844, type 3): Aval sends types 0 and 2 only; publish blobs by another program")
	case tx.Type() == types.AccessListTxType || len(tx.AccessList()) > 0:
		return transactionInvalid("has an access list (EIP-2930): Aval sends types 0 and 2 without one; send it without the list")
	case tx.Type() != types.LegacyTxType && tx.Type() != types.DynamicFeeTxType:
		return transactionInvalid("is of type %d: Aval sends types 0 and 2 only", tx.Type())
	case !tx.Protected():
		return transactionInvalid("has no replay protection (EIP-155): anybody could send it on any chain")
	case tx.ChainId().Cmp(new(big.Int).SetUint64(c.chainID)) != 0:
		return transactionInvalid("is for chain id %s and not for %d", tx.ChainId(), c.chainID)
	case tx.To() == nil:
		return transactionInvalid("creates a contract")
	}
	return nil
}
