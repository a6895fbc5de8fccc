package evm_test

import (
	"bytes"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/chain/evm"
	"github.com/avalhq/aval/internal/problem"
)

// The checksummed addresses are the test vectors of EIP-55.
var checksummed = []string{
	"0x52908400098527886E0F7030069857D2E4169EE7", "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
	"0xde709f2102306220921060314715629080e2fb77", "0x27b1fdb04752bbc536007a920d24acb045561c26",
	"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
	"0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB", "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
}

func TestAddressesGetTheirChecksum(t *testing.T) {
	codec := evm.NewCodec(1)
	for _, want := range checksummed {
		for _, given := range []string{want, strings.ToLower(want), "0x" + strings.ToUpper(want[2:])} {
			if got, err := codec.Address(given); err != nil || got != want {
				t.Errorf("%s becomes %s (%v), not %s", given, got, err, want)
			}
		}
	}
}

func TestWhatIsNoAddressIsRefused(t *testing.T) {
	codec := evm.NewCodec(1)
	for _, given := range []string{
		"", "0x", "0x0000000000000000000000000000000000000000", "52908400098527886E0F7030069857D2E4169EE7",
		"0X52908400098527886E0F7030069857D2E4169EE7", "0x52908400098527886E0F7030069857D2E4169EE", "0x52908400098527886E0F7030069857D2E4169EE700",
		"0xg2908400098527886E0F7030069857D2E4169EE7", " 0x52908400098527886E0F7030069857D2E4169EE7", "0x0x908400098527886E0F7030069857D2E4169EE7",
		"0x5aaeb6053F3E94C9b9A09f33669435E7Ef1BeAed", // EIP-55's fifth with a wrong case
	} {
		if got, err := codec.Address(given); !is(err, "address-invalid") {
			t.Errorf("%q becomes %q (%v)", given, got, err)
		}
	}
}

func TestAddressOfAPublicKey(t *testing.T) {
	key, err := crypto.HexToECDSA("4646464646464646464646464646464646464646464646464646464646464646") // EIP-155's example
	must(t, err)
	public := crypto.FromECDSAPub(&key.PublicKey)
	got, err := evm.NewCodec(1).AddressOf(public)
	if err != nil || got != "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F" {
		t.Errorf("the address is %s (%v)", got, err)
	}
	public[64] ^= 1
	for _, wrong := range [][]byte{public, nil, public[:64], make([]byte, 65)} {
		if got, err := evm.NewCodec(1).AddressOf(wrong); !is(err, "public-key-invalid") {
			t.Errorf("%x has the address %q (%v)", wrong, got, err)
		}
	}
}

func TestTokenTransfersAreEncoded(t *testing.T) {
	codec := evm.NewCodec(1)
	got, err := codec.TransferToken(checksummed[4], big.NewInt(0x1234))
	must(t, err)
	want := "0xa9059cbb" + strings.Repeat("0", 24) + strings.ToLower(checksummed[4][2:]) + strings.Repeat("0", 60) + "1234"
	if !bytes.Equal(got, common.FromHex(want)) {
		t.Errorf("the call data is %x", got)
	}
	for _, amount := range []*big.Int{nil, big.NewInt(-1), new(big.Int).Lsh(big.NewInt(1), 256)} {
		if _, err := codec.TransferToken(checksummed[4], amount); !is(err, "amount-invalid") {
			t.Errorf("%v tokens: %v", amount, err)
		}
	}
	if _, err := codec.TransferToken("0x12", big.NewInt(1)); !is(err, "address-invalid") {
		t.Errorf("to 0x12: %v", err)
	}
}

func TestWhatIsAssembledSaysWhatWasMeant(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.Uint64Min(1).Draw(t, "chain")
		codec, by := evm.NewCodec(id), newKey(t)
		want := drawTransaction(t, codec, by)
		nonce := rapid.Uint64Max(1<<60).Draw(t, "nonce")
		digest, err := codec.Digest(want, nonce)
		must(t, err)
		signed, err := codec.Assemble(want, nonce, signature(t, by, digest))
		must(t, err)
		got, err := codec.Decode(signed.Raw)
		must(t, err)
		if got.Nonce != nonce || got.Hash != signed.Hash || !same(got.Tx, want) {
			t.Fatalf("%+v with nonce %d is decoded as %+v", want, nonce, got)
		}
		if again, err := codec.Assemble(want, nonce, signature(t, by, digest)); err != nil || !bytes.Equal(again.Raw, signed.Raw) {
			t.Fatalf("the same signature gives other bytes: %v", err)
		}
	})
}

func drawTransaction(t *rapid.T, codec *evm.Codec, by account) chain.Unsigned {
	amount := func(name string) *big.Int {
		return new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 0, 32).Draw(t, name))
	}
	fee, tip := amount("fee"), amount("tip")
	if fee.Cmp(tip) < 0 {
		fee, tip = tip, fee
	}
	if fee.Sign() == 0 {
		fee = big.NewInt(1)
	}
	to, legacy := rapid.SampledFrom(checksummed).Draw(t, "to"), rapid.Bool().Draw(t, "legacy")
	if legacy {
		tip = nil
	}
	return chain.Unsigned{
		Chain: codec.ID(), From: by.Address(), To: to, Value: amount("value"), Data: rapid.SliceOf(rapid.Byte()).Draw(t, "data"),
		Gas: rapid.Uint64Range(1, 1<<60).Draw(t, "gas"), Fee: fee, Tip: tip, Legacy: legacy,
	}
}

func same(a, b chain.Unsigned) bool {
	return a.Chain == b.Chain && a.From == b.From && a.To == b.To && a.Value.Cmp(b.Value) == 0 && bytes.Equal(a.Data, b.Data) &&
		a.Gas == b.Gas && a.Fee.Cmp(b.Fee) == 0 && a.Legacy == b.Legacy && (a.Legacy || a.Tip.Cmp(b.Tip) == 0)
}

func TestIncompleteTransactionsAreNotSigned(t *testing.T) {
	codec, by := evm.NewCodec(1), newKey(t)
	for name, spoil := range map[string]func(*chain.Unsigned){
		"no gas":               func(tx *chain.Unsigned) { tx.Gas = 0 },
		"no fee":               func(tx *chain.Unsigned) { tx.Fee = nil },
		"a gas price and tip":  func(tx *chain.Unsigned) { tx.Legacy = true },
		"a tip above the fee":  func(tx *chain.Unsigned) { tx.Tip = big.NewInt(101) },
		"a negative value":     func(tx *chain.Unsigned) { tx.Value = big.NewInt(-1) },
		"a value of 2^256":     func(tx *chain.Unsigned) { tx.Value = new(big.Int).Lsh(big.NewInt(1), 256) },
		"another chain (A9)":   func(tx *chain.Unsigned) { tx.Chain = "eip155:2" },
		"chain id 0 (A10)":     func(tx *chain.Unsigned) { tx.Chain = "eip155:0" },
		"no recipient":         func(tx *chain.Unsigned) { tx.To = "" },
		"the zero address":     func(tx *chain.Unsigned) { tx.To = "0x0000000000000000000000000000000000000000" },
		"a recipient mistyped": func(tx *chain.Unsigned) { tx.To = "0x5aaeb6053F3E94C9b9A09f33669435E7Ef1BeAed" },
	} {
		tx := chain.Unsigned{
			Chain: codec.ID(), From: by.Address(), To: checksummed[4], Value: big.NewInt(1), Gas: 21000, Fee: big.NewInt(100), Tip: big.NewInt(1),
		}
		_, err := codec.Digest(tx, 0)
		must(t, err)
		spoil(&tx)
		if _, err := codec.Digest(tx, 0); !is(err, "transaction-invalid") && !is(err, "address-invalid") {
			t.Errorf("%s: Digest answers %v", name, err)
		}
		if _, err := codec.Assemble(tx, 0, make([]byte, 65)); !is(err, "transaction-invalid") && !is(err, "address-invalid") {
			t.Errorf("%s: Assemble answers %v", name, err)
		}
	}
}

// TestA6SignaturesOutOfRange: r or s zero or not below the order, and other recovery ids.
func TestA6SignaturesOutOfRange(t *testing.T) {
	codec, by := evm.NewCodec(1), newKey(t)
	tx := chain.Unsigned{Chain: codec.ID(), From: by.Address(), To: checksummed[4], Gas: 21000, Fee: big.NewInt(100), Tip: big.NewInt(1)}
	digest, err := codec.Digest(tx, 0)
	must(t, err)
	good := signature(t, by, digest)
	order := crypto.S256().Params().N.Bytes()
	for name, spoil := range map[string]func(s []byte) []byte{
		"r is 0":         func(s []byte) []byte { clear(s[:32]); return s },
		"s is 0":         func(s []byte) []byte { clear(s[32:64]); return s },
		"r is the order": func(s []byte) []byte { copy(s, order); return s },
		"s is the order": func(s []byte) []byte { copy(s[32:], order); return s },
		"v is 27":        func(s []byte) []byte { s[64] += 27; return s },
		"v is 2":         func(s []byte) []byte { s[64] = 2; return s },
		"64 bytes":       func(s []byte) []byte { return s[:64] },
		"66 bytes":       func(s []byte) []byte { return append(s, 0) },
		"nothing":        func([]byte) []byte { return nil },
	} {
		if _, err := codec.Assemble(tx, 0, spoil(bytes.Clone(good))); !is(err, "signature-invalid") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = codec.Assemble(tx, 0, good)
	must(t, err)
}

// TestA9A10ForeignTransactions: signed bytes of kinds that Aval does not make are not decoded as if it did.
func TestA9A10ForeignTransactions(t *testing.T) {
	codec, by := evm.NewCodec(1), newKey(t)
	one, to := big.NewInt(1), common.HexToAddress(checksummed[4])
	dynamic := func(id int64) *types.DynamicFeeTx {
		return &types.DynamicFeeTx{ChainID: big.NewInt(id), To: &to, Gas: 21000, GasFeeCap: one, GasTipCap: one, Value: one}
	}
	sign := func(signer types.Signer, data types.TxData) []byte {
		tx, err := types.SignNewTx(by.key, signer, data)
		must(t, err)
		raw, err := tx.MarshalBinary()
		must(t, err)
		return raw
	}
	good := sign(types.LatestSignerForChainID(one), dynamic(1))
	_, err := codec.Decode(good)
	must(t, err)
	creation, listed := dynamic(1), dynamic(1)
	creation.To = nil
	listed.AccessList = types.AccessList{{Address: to}}
	legacy := &types.LegacyTx{To: &to, Gas: 21000, GasPrice: one, Value: one}
	authorised := &types.SetCodeTx{ChainID: uint256.NewInt(1), To: to, Gas: 50000, GasFeeCap: uint256.NewInt(1), GasTipCap: uint256.NewInt(1), AuthList: []types.SetCodeAuthorization{{}}}
	blobs := &types.BlobTx{ChainID: uint256.NewInt(1), To: to, Gas: 21000, GasFeeCap: uint256.NewInt(1), GasTipCap: uint256.NewInt(1), BlobFeeCap: uint256.NewInt(1), BlobHashes: []common.Hash{{1}}}
	for name, raw := range map[string][]byte{
		"no replay protection": sign(types.HomesteadSigner{}, legacy),
		"EIP-155, other chain": sign(types.NewEIP155Signer(big.NewInt(2)), legacy),
		"EIP-7702":             sign(types.LatestSignerForChainID(one), authorised),
		"EIP-4844, blobs":      sign(types.LatestSignerForChainID(one), blobs),
		"EIP-2930":             sign(types.LatestSignerForChainID(one), &types.AccessListTx{ChainID: one, To: &to, Gas: 21000, GasPrice: one, Value: one}),
		"another chain":        sign(types.LatestSignerForChainID(big.NewInt(2)), dynamic(2)),
		"chain id 0":           unchained(t, by, dynamic(0)),
		"a contract creation":  sign(types.LatestSignerForChainID(one), creation),
		"an access list":       sign(types.LatestSignerForChainID(one), listed),
		"a high s (A3)":        twin(t, good),
		"a byte too many":      append(bytes.Clone(good), 0),
		"nothing":              nil,
	} {
		if got, err := codec.Decode(raw); !is(err, "transaction-invalid") && !is(err, "signature-invalid") {
			t.Errorf("%s is decoded as %+v (%v)", name, got, err)
		}
	}
}

// unchained signs a transaction with chain id 0, which go-ethereum's signers refuse to do.
func unchained(t *testing.T, by account, inner *types.DynamicFeeTx) []byte {
	t.Helper()
	digest := types.NewLondonSigner(big.NewInt(1)).Hash(types.NewTx(inner))
	rsv := signature(t, by, digest.Bytes())
	inner.R, inner.S, inner.V = new(big.Int).SetBytes(rsv[:32]), new(big.Int).SetBytes(rsv[32:64]), big.NewInt(int64(rsv[64]))
	raw, err := types.NewTx(inner).MarshalBinary()
	must(t, err)
	return raw
}

// twin is the same transaction with the other signature that recovers to the same address.
func twin(t *testing.T, raw []byte) []byte {
	t.Helper()
	var tx types.Transaction
	must(t, tx.UnmarshalBinary(raw))
	v, r, s := tx.RawSignatureValues()
	inner := &types.DynamicFeeTx{
		ChainID: tx.ChainId(), Nonce: tx.Nonce(), To: tx.To(), Value: tx.Value(), Data: tx.Data(), Gas: tx.Gas(), GasFeeCap: tx.GasFeeCap(), GasTipCap: tx.GasTipCap(),
		R: r, S: new(big.Int).Sub(crypto.S256().Params().N, s), V: new(big.Int).Sub(big.NewInt(1), v),
	}
	other, err := types.NewTx(inner).MarshalBinary()
	must(t, err)
	return other
}

// FuzzDecode: whatever is decoded is exactly what a signature of its sender over the same words assembles to.
func FuzzDecode(f *testing.F) {
	codec, by := evm.NewCodec(1), newKey(f)
	tx := chain.Unsigned{Chain: codec.ID(), From: by.Address(), To: checksummed[4], Value: big.NewInt(5), Data: []byte("data"), Gas: 21000, Fee: big.NewInt(100), Tip: big.NewInt(1)}
	digest, err := codec.Digest(tx, 3)
	must(f, err)
	signed, err := codec.Assemble(tx, 3, signature(f, by, digest))
	must(f, err)
	f.Add(signed.Raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := codec.Decode(raw)
		if err != nil {
			return
		}
		if hash := crypto.Keccak256Hash(raw).Hex(); got.Hash != hash {
			t.Errorf("%x is decoded as the transaction %s, but its hash is %s", raw, got.Hash, hash)
		}
	})
}

func is(err error, code string) bool {
	var typed *problem.Error
	return errors.As(err, &typed) && typed.Code == code
}
