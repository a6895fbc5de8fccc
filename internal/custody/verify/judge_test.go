package verify_test

import (
	"math"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/holiman/uint256"
	"pgregory.net/rapid"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/verify"
	"github.com/avalhq/aval/internal/transaction"
)

// TestI15WhatWasDecidedIsGood: decisions, raises and no-ops, in any order, more than a page of them.
func TestI15WhatWasDecidedIsGood(t *testing.T) {
	w := newWorld(t)
	all := raws(w.sign(t, 1100))
	raise := w.replace(t, 0, w.raise(1), true)
	noOp := w.raise(2)
	noOp.Kind, noOp.Tx.To, noOp.Tx.Value, noOp.Tx.Data = transaction.NoOp, w.k.Address, new(big.Int), nil
	noOp = w.replace(t, 0, noOp, true)
	all[7], all[1050] = all[1050], all[7]
	verdicts := w.judge(t, verify.Good, append(all, raise.Signed.Raw, noOp.Signed.Raw, all[3])...)
	if v := verdicts[1101]; v.Attempt != 2 || v.Key != w.k.ID || v.Place != (verify.Place{Chain: network, Address: w.k.Address}) || v.Step.State != "Sign" {
		t.Errorf("the no-op is %+v", v)
	}
	if verdicts[7].Place.Nonce != 1050 || verdicts[1102].Place.Nonce != 3 {
		t.Errorf("the verdicts are in another order")
	}
}

// TestI15NobodyDecidedIt: signed by a key of ours, or by a stranger's, for a place where nothing is decided.
func TestI15NobodyDecidedIt(t *testing.T) {
	w := newWorld(t)
	w.sign(t, 3)
	var forged [][]byte
	for _, nonce := range []uint64{3, 4000, math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64} {
		forged = append(forged, w.forge(t, w.transfer(1), nonce).Raw)
	}
	stranger := newWorld(t)
	forged = append(forged, stranger.forge(t, stranger.transfer(1), 0).Raw)
	bare := w.decide(t, 1)[0] // decided, and its bytes were never stored
	forged = append(forged, w.forge(t, bare.Tx, bare.Nonce).Raw)
	w.judge(t, verify.Orphan, forged...)
}

// TestI6DoubleSignature: other bytes for what was signed, and another intent for a nonce that was decided.
func TestI6DoubleSignature(t *testing.T) {
	w := newWorld(t)
	first := w.sign(t, 2)[0]
	raise := w.replace(t, 0, w.raise(1), true)
	twin, raised := w.again(t, first.Tx, 0), w.again(t, raise.Tx, 0)
	more, data, to := w.transfer(2), w.transfer(1), w.transfer(1)
	data.Data, to.To = []byte{1}, w.k.Address
	verdicts := w.judge(t, verify.Double, twin.Raw, raised.Raw, w.forge(t, more, 0).Raw, w.forge(t, data, 0).Raw, w.forge(t, to, 0).Raw, w.forge(t, first.Tx, 1).Raw)
	if verdicts[0].Attempt != 0 || verdicts[1].Attempt != 1 {
		t.Errorf("the doubles are of attempts %d and %d", verdicts[0].Attempt, verdicts[1].Attempt)
	}
}

// TestAlteredPrice: the decided intent for a price that nobody decided.
func TestAlteredPrice(t *testing.T) {
	w := newWorld(t)
	w.sign(t, 1)
	fee, tip, gas, legacy := w.transfer(1), w.transfer(1), w.transfer(1), w.transfer(1)
	fee.Fee, tip.Tip, gas.Gas, legacy.Legacy, legacy.Tip = big.NewInt(9e9), big.NewInt(2), 90000, true, nil
	w.judge(t, verify.Altered, w.forge(t, fee, 0).Raw, w.forge(t, tip, 0).Raw, w.forge(t, gas, 0).Raw, w.forge(t, legacy, 0).Raw)
}

// TestUnreadableBytes: what is no transaction, and what Aval never makes (A3, A9, A10). No two of them share a verdict.
func TestUnreadableBytes(t *testing.T) {
	w := newWorld(t)
	good := w.sign(t, 1)[0].Signed.Raw
	chainID := uint256.NewInt(1337)
	all := [][]byte{
		nil, {0}, {2}, []byte("{}"), good[:len(good)-1], append(append([]byte(nil), good...), 0),
		w.foreign(t, &types.LegacyTx{To: dead(), Gas: 21000, GasPrice: big.NewInt(1)}, 5),
		w.foreign(t, &types.AccessListTx{ChainID: big.NewInt(1337), To: dead(), Gas: 21000, GasPrice: big.NewInt(1), AccessList: types.AccessList{{}}}, 1337),
		w.foreign(t, &types.DynamicFeeTx{ChainID: big.NewInt(1337), Gas: 21000, GasFeeCap: big.NewInt(1), GasTipCap: big.NewInt(1)}, 1337),
		w.foreign(t, &types.SetCodeTx{ChainID: chainID, To: *dead(), Gas: 21000, GasFeeCap: uint256.NewInt(1), GasTipCap: uint256.NewInt(1), Value: new(uint256.Int), AuthList: []types.SetCodeAuthorization{{}}}, 1337),
	}
	hashes := map[string]bool{}
	for _, v := range w.judge(t, verify.Unreadable, all...) {
		hashes[v.Hash] = true
	}
	if len(hashes) != len(all) {
		t.Errorf("%d have %d verdicts", len(all), len(hashes))
	}
	verdicts, err := w.verifier.Judge(t.Context(), []verify.Seen{{Chain: "eip155:5", Raw: good}})
	if err != nil || verdicts[0].Word != verify.Unreadable {
		t.Errorf("a chain that nobody serves: %+v, %v", verdicts, err)
	}
}

// TestJudgeAnyChange: whatever is changed in what was decided and stored, the verdict is not good.
func TestJudgeAnyChange(t *testing.T) {
	w := newWorld(t)
	rapid.Check(t, func(r *rapid.T) {
		decided := w.transfer(rapid.Int64Range(1, math.MaxInt64).Draw(r, "value"))
		decided.Data = rapid.SliceOf(rapid.Byte()).Draw(r, "data")
		nonce := rapid.Uint64Range(0, 9).Draw(r, "nonce")
		signed := decided
		change := rapid.SampledFrom([]string{"nothing", "value", "data", "to", "fee", "tip", "gas", "nonce", "bytes"}).Draw(r, "change")
		stored, at := w.forge(t, decided, nonce), nonce
		switch change {
		case "value":
			signed.Value = new(big.Int).Add(decided.Value, big.NewInt(rapid.Int64Range(1, 99).Draw(r, "more")))
		case "data":
			signed.Data = append(append([]byte(nil), decided.Data...), rapid.Byte().Draw(r, "more"))
		case "to":
			signed.To = w.k.Address
		case "fee":
			signed.Fee = new(big.Int).Add(decided.Fee, big.NewInt(1))
		case "tip":
			signed.Tip = big.NewInt(rapid.Int64Range(0, 999_999_999).Draw(r, "tip"))
		case "gas":
			signed.Gas++
		case "nonce":
			at += rapid.Uint64Range(1, 1<<40).Draw(r, "later")
		}
		seen := w.forge(t, signed, at)
		if change == "bytes" {
			seen = w.again(t, decided, nonce)
		}
		authority := &transaction.Transaction{Key: w.k.ID, Nonce: nonce, Attempts: []transaction.Attempt{{Kind: transaction.First, Tx: decided, Signed: stored}}}
		d, v := verify.Read(codec, verify.Seen{Chain: network, Raw: seen.Raw})
		if v.Word != "" {
			r.Fatalf("it cannot be read: %+v", v)
		}
		if v.Place.Nonce != nonce {
			authority = nil // nothing is decided there
		}
		if got := verify.Judge(codec, d, authority); (got.Word == verify.Good) != (change == "nothing") {
			r.Fatalf("%s changed: %+v", change, got)
		}
		edited := transaction.Transaction{Key: w.k.ID, Nonce: nonce, Attempts: []transaction.Attempt{{Kind: transaction.First, Tx: decided, Signed: chain.Signed{Hash: seen.Hash, Raw: seen.Raw}}}}
		for _, got := range verify.Attest(codec, network, w.k.Address, edited) { // the same, stored in the place of what was signed
			if (got.Word == verify.Good) != (change == "nothing" || change == "bytes") {
				r.Fatalf("%s changed and stored: %+v", change, got)
			}
		}
	})
}
