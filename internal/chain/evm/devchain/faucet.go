package devchain

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"

	"github.com/avalhq/aval/internal/problem"
)

// The gas that the faucet offers: enough for a transfer to a contract that does a little, and for deploying one of any legal size.
const (
	transferGas = 100_000
	deployGas   = 10_000_000
)

// faucetKey reads the folder's faucet key or makes one; in memory it is a new one.
func faucetKey(folder string) (*ecdsa.PrivateKey, error) {
	if folder == "" {
		return crypto.GenerateKey()
	}
	path := filepath.Join(folder, "faucet.key")
	key, err := crypto.LoadECDSA(path)
	if !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return nil, fmt.Errorf("reading the development chain's faucet key %s: restore the file, or choose an empty folder: %w", path, err)
		}
		return key, nil
	}
	if key, err = crypto.GenerateKey(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("making the development chain's folder: %w", err)
	}
	return key, storeFile(path, hexutil.Encode(crypto.FromECDSA(key))[2:])
}

// FaucetAddress is the account that holds the coin of genesis.
func (c *Chain) FaucetAddress() string {
	return crypto.PubkeyToAddress(c.faucet.PublicKey).Hex()
}

// Faucet sends coin (wei) from the faucet and answers the transaction's hash; it is mined within BlockTime or two.
func (c *Chain) Faucet(ctx context.Context, address string, wei *big.Int) (string, error) {
	if !common.IsHexAddress(address) {
		return "", problem.New(problem.Invalid, "address-invalid", "%q is no Ethereum address: 0x and 40 hex digits are expected", address)
	}
	if wei == nil || wei.Sign() < 0 {
		return "", problem.New(problem.Invalid, "amount-invalid", "the faucet sends amounts of 0 wei or more")
	}
	to := common.HexToAddress(address)
	return c.transact(ctx, &to, wei, nil, transferGas)
}

// Call sends a transaction with data from the faucet to a contract and answers its hash.
func (c *Chain) Call(ctx context.Context, contract string, data []byte) (string, error) {
	to := common.HexToAddress(contract)
	return c.transact(ctx, &to, nil, data, deployGas)
}

// Deploy creates a contract from the faucet account: code is its creation bytecode with the constructor's arguments.
// It answers the contract's address and the transaction's hash.
func (c *Chain) Deploy(ctx context.Context, code []byte) (address, hash string, err error) {
	hash, err = c.transact(ctx, nil, nil, code, deployGas)
	if err != nil {
		return "", "", err
	}
	tx := c.eth.TxPool().Get(common.HexToHash(hash))
	if tx == nil {
		if _, tx, _, _, _ = c.eth.APIBackend.GetCanonicalTransaction(common.HexToHash(hash)); tx == nil {
			return "", "", fmt.Errorf("the development chain lost the transaction %s", hash)
		}
	}
	return crypto.CreateAddress(crypto.PubkeyToAddress(c.faucet.PublicKey), tx.Nonce()).Hex(), hash, nil
}

// transact signs with the faucet's next nonce and hands the transaction to the pool.
func (c *Chain) transact(ctx context.Context, to *common.Address, value *big.Int, data []byte, gas uint64) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	c.faucetMu.Lock()
	defer c.faucetMu.Unlock()
	id := new(big.Int).SetUint64(c.config.ChainID)
	tip := big.NewInt(params.GWei)
	fee := new(big.Int).Add(tip, new(big.Int).Mul(big.NewInt(4), c.eth.BlockChain().CurrentBlock().BaseFee))
	tx, err := types.SignNewTx(c.faucet, types.LatestSignerForChainID(id), &types.DynamicFeeTx{
		ChainID: id, Nonce: c.eth.TxPool().PoolNonce(crypto.PubkeyToAddress(c.faucet.PublicKey)),
		To: to, Value: value, Data: data, Gas: gas, GasTipCap: tip, GasFeeCap: fee,
	})
	if err != nil {
		return "", fmt.Errorf("signing for the faucet: %w", err)
	}
	if err := c.eth.TxPool().Add([]*types.Transaction{tx}, true)[0]; err != nil {
		return "", problem.New(problem.Unprocessable, "faucet-refused", "the development chain refused the faucet's transaction: %w", err)
	}
	return tx.Hash().Hex(), nil
}

// api is what JSON-RPC offers as dev_….
type api struct{ chain *Chain }

// Faucet is dev_faucet(address, wei): the transaction's hash.
func (a api) Faucet(ctx context.Context, address string, wei *hexutil.Big) (string, error) {
	return a.chain.Faucet(ctx, address, wei.ToInt())
}
