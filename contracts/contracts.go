// Package contracts holds the smart contracts of Aval: Solidity sources in src, what the pinned compiler made of them in
// artifacts, and just enough Go to deploy them and to call what is theirs alone. generate.sh compiles; Go alone builds and
// tests. A standard's own calls (ERC-20's transfer) belong to the chain's codec.
package contracts

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"math/big"
	"sync"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

//go:embed artifacts/TestToken.json
var testToken []byte

// artifact is a compiled contract.
type artifact struct {
	ABI      abi.ABI       `json:"abi"`
	Bytecode hexutil.Bytes `json:"bytecode"`
}

// loadTestToken decodes the embedded artifact once.
var loadTestToken = sync.OnceValues(func() (artifact, error) {
	var a artifact
	if err := json.Unmarshal(testToken, &a); err != nil {
		return artifact{}, fmt.Errorf("the embedded artifact of TestToken cannot be read, compile it again with contracts/generate.sh: %w", err)
	}
	return a, nil
})

// TestToken is the creation code of an ERC-20 token that anybody may mint: for development and tests.
func TestToken(name, symbol string, decimals uint8) ([]byte, error) {
	a, err := loadTestToken()
	if err != nil {
		return nil, err
	}
	arguments, err := a.ABI.Pack("", name, symbol, decimals)
	if err != nil {
		return nil, fmt.Errorf("encoding the arguments of TestToken's constructor: %w", err)
	}
	return append(a.Bytecode[:len(a.Bytecode):len(a.Bytecode)], arguments...), nil
}

// MintTestToken is the call data that makes tokens for an address.
func MintTestToken(to string, amount *big.Int) ([]byte, error) {
	a, err := loadTestToken()
	if err != nil {
		return nil, err
	}
	data, err := a.ABI.Pack("mint", common.HexToAddress(to), amount)
	if err != nil {
		return nil, fmt.Errorf("encoding a call of TestToken.mint: %w", err)
	}
	return data, nil
}
