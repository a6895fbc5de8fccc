package main

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/avalhq/aval/internal/chain/evm/nodes"
	"github.com/avalhq/aval/internal/problem"
)

// alone is what the chain's node takes when it is fed directly: as many transactions of as many keys as Aval has sent, signed
// beforehand, in JSON-RPC batches, until they are as deep as Aval waits for.
type alone struct {
	Count   int     `json:"count"`
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"rate_per_second"`
	Ratio   float64 `json:"ratio"` // Aval's rate, as a part of this one
}

// benchNode is a node that a benchmark measures beside: a development node, which has an account of its own to pay from.
type benchNode struct {
	*rpc.Client
	url     string
	chainID uint64
	payer   common.Address
	process *nodes.Node // nil when it was there before
}

// openBenchNode starts geth as a process of its own, for the name geth, or connects to the node at a URL.
func openBenchNode(ctx context.Context, where string) (n *benchNode, err error) {
	n = &benchNode{url: where}
	if where == "geth" { // its pool is made as large as the load: what it drops would have to be sent again
		n.process, err = nodes.Geth(ctx, nodes.Options{Arguments: []string{
			"--txpool.accountslots", "4096", "--txpool.globalslots", "65536", "--txpool.accountqueue", "4096", "--txpool.globalqueue", "65536",
		}})
		if err != nil {
			return nil, err
		}
		if err = n.process.Call(ctx, nil, "debug_verbosity", warnings); err != nil {
			return nil, errors.Join(fmt.Errorf("tell geth to log warnings only: %w", err), n.end())
		}
		n.url = n.process.WebSocketURL()
	}
	if n.Client, err = rpc.DialContext(ctx, n.url); err != nil {
		return nil, errors.Join(problem.New(problem.Unavailable, "chain-unreachable", "cannot reach the node at %s: %w", place(n.url), err), n.end())
	}
	var id hexutil.Uint64
	var accounts []common.Address
	if err := errors.Join(n.CallContext(ctx, &id, "eth_chainId"), n.CallContext(ctx, &accounts, "eth_accounts")); err != nil {
		return nil, errors.Join(problem.New(problem.Unavailable, "chain-unreachable", "the node at %s does not answer: %w", place(n.url), err), n.end())
	}
	if len(accounts) == 0 {
		return nil, errors.Join(problem.New(problem.Invalid, "flag-invalid", "the node at %s has no account of its own to pay from: use a development node, such as geth --dev or anvil", place(n.url)), n.end())
	}
	n.chainID, n.payer = uint64(id), accounts[0]
	return n, nil
}

// warnings is geth's log level for them. By default it writes a line for each transaction, which would be measured with it.
const warnings = 2

// end closes the connection, and ends the process when it was started here.
func (n *benchNode) end() error {
	if n.Client != nil {
		n.Close()
	}
	if n.process != nil {
		return n.process.Close()
	}
	return nil
}

// fund pays to all addresses and waits until the node has the last payment's receipt: geth tells none in its first seconds.
func (n *benchNode) fund(ctx context.Context, wei *big.Int, addresses ...string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var hash common.Hash
	var nonce hexutil.Uint64 // counted here: while a block is made, the node's own count can be of before it
	if err := n.CallContext(ctx, &nonce, "eth_getTransactionCount", n.payer, "pending"); err != nil {
		return fmt.Errorf("ask for the nonce of the node's own account: %w", err)
	}
	for i, address := range addresses {
		payment := map[string]any{"from": n.payer, "to": address, "value": (*hexutil.Big)(wei), "nonce": nonce + hexutil.Uint64(i)}
		if err := n.CallContext(ctx, &hash, "eth_sendTransaction", payment); err != nil {
			return fmt.Errorf("the node's own account does not pay: %w", err)
		}
	}
	return n.until(ctx, func() (bool, error) {
		var receipt *struct{}
		err := n.CallContext(ctx, &receipt, "eth_getTransactionReceipt", hash)
		return err == nil && receipt != nil, nil
	})
}

func (n *benchNode) until(ctx context.Context, done func() (bool, error)) error {
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// feeding is how many transactions may wait in the node's pool at once while it is fed: fewer than geth keeps by default.
const feeding, feedingBatch = 4096, 128

// warming is how many transactions a node is given before anything is measured: geth prepares tables for seconds after its start,
// which would count against who is measured first.
const warming = 4096

// feed signs count transactions of as many keys and then measures how long the node takes until they are that deep.
func (n *benchNode) feed(ctx context.Context, count, keys int, depth uint64) (*alone, error) {
	senders, raw, err := n.prepare(ctx, count, keys)
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	var fed sync.WaitGroup
	errs := make([]error, keys)
	for i := range keys {
		fed.Go(func() { errs[i] = n.feedLane(ctx, senders[i], raw[i], max(feedingBatch, feeding/keys)) })
	}
	if fed.Wait(); errors.Join(errs...) != nil {
		return nil, fmt.Errorf("feed the node directly: %w", errors.Join(errs...))
	}
	if err := n.until(ctx, func() (bool, error) { return n.deep(ctx, senders, raw, depth) }); err != nil {
		return nil, err
	}
	seconds := time.Since(begun).Seconds()
	return &alone{Count: count, Seconds: seconds, Rate: float64(count) / seconds}, nil
}

func (n *benchNode) prepare(ctx context.Context, count, keys int) (senders []common.Address, raw [][]hexutil.Bytes, err error) {
	raw, senders = make([][]hexutil.Bytes, keys), make([]common.Address, keys)
	names, signers := make([]string, keys), make([]*ecdsa.PrivateKey, keys)
	for i := range keys {
		if signers[i], err = crypto.GenerateKey(); err != nil {
			return nil, nil, err
		}
		senders[i] = crypto.PubkeyToAddress(signers[i].PublicKey)
		names[i] = senders[i].Hex()
	}
	if err := n.fund(ctx, benchCoin(), names...); err != nil {
		return nil, nil, err
	}
	to, id := common.HexToAddress("0x000000000000000000000000000000000000dEaD"), new(big.Int).SetUint64(n.chainID)
	for at := range count {
		i := at % keys
		tx, err := types.SignNewTx(signers[i], types.LatestSignerForChainID(id), &types.DynamicFeeTx{
			ChainID: id, Nonce: uint64(len(raw[i])), To: &to, Value: big.NewInt(1), Gas: params.TxGas, GasFeeCap: big.NewInt(20 * params.GWei), GasTipCap: big.NewInt(params.GWei),
		})
		if err != nil {
			return nil, nil, err
		}
		text, err := tx.MarshalBinary()
		if err != nil {
			return nil, nil, err
		}
		raw[i] = append(raw[i], text)
	}
	return senders, raw, nil
}

// feedLane sends a key's transactions in order, so many ahead of what is mined.
func (n *benchNode) feedLane(ctx context.Context, sender common.Address, raw []hexutil.Bytes, ahead int) error {
	sent := 0
	for part := range slices.Chunk(raw, feedingBatch) {
		if err := n.until(ctx, func() (bool, error) {
			mined, err := n.mined(ctx, sender, "latest")
			return sent+len(part) <= int(mined)+ahead, err
		}); err != nil {
			return err
		}
		elems := make([]rpc.BatchElem, len(part))
		for i := range part {
			elems[i] = rpc.BatchElem{Method: "eth_sendRawTransaction", Args: []any{part[i]}, Result: new(common.Hash)}
		}
		if err := n.BatchCallContext(ctx, elems); err != nil {
			return err
		}
		for _, elem := range elems {
			if elem.Error != nil {
				return elem.Error
			}
		}
		sent += len(part)
	}
	return nil
}

func (n *benchNode) mined(ctx context.Context, sender common.Address, block string) (uint64, error) {
	var nonce hexutil.Uint64
	err := n.CallContext(ctx, &nonce, "eth_getTransactionCount", sender, block)
	return uint64(nonce), err
}

// deep says whether all transactions are that deep.
func (n *benchNode) deep(ctx context.Context, senders []common.Address, raw [][]hexutil.Bytes, depth uint64) (bool, error) {
	var head hexutil.Uint64
	if err := n.CallContext(ctx, &head, "eth_blockNumber"); err != nil {
		return false, err
	}
	block := hexutil.EncodeUint64(uint64(head) - min(uint64(head), depth-1))
	for i := range senders {
		if mined, err := n.mined(ctx, senders[i], block); err != nil || mined < uint64(len(raw[i])) {
			return false, err
		}
	}
	return true, nil
}

// benchCoin is what each key gets: more than any run spends.
func benchCoin() *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(21), nil) }

// printAlone tells what the node did without Aval.
func printAlone(out io.Writer, runs []figures) {
	for _, f := range runs {
		if f.Node != nil {
			_, _ = fmt.Fprintf(out, "the node alone took %d signed transactions at %.0f/s (%.2f s); Aval reached %.0f %% of that\n", f.Node.Count, f.Node.Rate, f.Node.Seconds, 100*f.Node.Ratio)
		}
	}
}
