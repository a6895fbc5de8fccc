package devchain

import (
	"fmt"
	"math/big"
	"strconv"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/eth"
	"github.com/ethereum/go-ethereum/eth/ethconfig"
	"github.com/ethereum/go-ethereum/node"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/params"
)

const gasLimit = 60_000_000 // per block

// openNode starts the node and brings it to its newest block. The database panics on damaged files: that ends here.
func (c *Chain) openNode() (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("the node's database failed: %v", cause)
		}
	}()
	if err := c.startNode(); err != nil {
		return err
	}
	return c.catchUp()
}

// startNode assembles the node with small caches and without a network, and starts it.
func (c *Chain) startNode() error {
	key, err := crypto.GenerateKey() // the peer-to-peer identity: nobody will ever see it
	if err != nil {
		return err
	}
	stack, err := node.New(&node.Config{
		Name:    "devchain",
		DataDir: c.config.Folder,
		P2P:     p2p.Config{PrivateKey: key, NoDiscovery: true, NoDial: true},
	})
	if err != nil {
		return err
	}
	c.stack = stack                  // holds the folder's lock
	stack.Server().NodeDatabase = "" // of peers: there are none
	if err := c.clearUnbegun(); err != nil {
		return err
	}
	if c.eth, err = eth.New(stack, c.ethConfig()); err != nil {
		return err
	}
	return stack.Start()
}

func (c *Chain) ethConfig() *ethconfig.Config {
	config := ethconfig.Defaults
	config.Genesis = c.genesis()
	config.SyncMode = ethconfig.FullSync
	config.LogNoHistory = true // eth_getLogs scans: no index to keep
	config.TransactionHistory = 0
	config.NoPrefetch = true
	config.RPCTxFeeCap = 0
	config.Miner.GasCeil = gasLimit

	// Every block's state goes to disk with the block. Keeping recent states in memory, as a node does that can fetch them
	// from its peers again, would lose them to a kill.
	config.StateScheme = rawdb.HashScheme
	config.NoPruning = c.config.Folder != ""
	config.DatabaseCache = 16
	config.TrieCleanCache = 8
	config.TrieDirtyCache = 8
	config.SnapshotCache = 0
	config.FilterLogCacheSize = 8
	config.GPO.MaxHeaderHistory = 128
	config.GPO.MaxBlockHistory = 128

	config.BlobPool.Datadir = ""
	config.TxPool.NoLocals = true
	config.TxPool.Journal = ""
	config.TxPool.AccountSlots = 16_384
	config.TxPool.GlobalSlots = 16 * 16_384
	config.TxPool.AccountQueue = 16_384
	config.TxPool.GlobalQueue = 16 * 16_384
	config.TxPool.Lifetime = 24 * time.Hour
	return &config
}

// genesis is geth's own development genesis with another chain id and a faucet of 10^9 coins.
func (c *Chain) genesis() *core.Genesis {
	faucet := crypto.PubkeyToAddress(c.faucet.PublicKey)
	genesis := core.DeveloperGenesisBlock(gasLimit, nil)
	genesis.Config.ChainID = new(big.Int).SetUint64(c.config.ChainID)
	genesis.ExtraData = []byte("aval " + strconv.FormatUint(c.config.ChainID, 10)) // or the folder would take any chain id
	coins := new(big.Int).Mul(big.NewInt(1_000_000_000), big.NewInt(params.Ether))
	genesis.Alloc[faucet] = types.Account{Balance: coins}
	return genesis
}

// catchUp makes the blocks canonical again that were on stable storage, and maybe seen, when the process was killed
// before the mark of the newest block was.
func (c *Chain) catchUp() error {
	chain, db := c.eth.BlockChain(), c.eth.ChainDb()
	for {
		next := c.childOf(chain.CurrentBlock(), rawdb.ReadAllHashes(db, chain.CurrentBlock().Number.Uint64()+1))
		if next == nil {
			return nil
		}
		if _, err := chain.SetCanonical(next); err != nil {
			return err
		}
	}
}

func (c *Chain) childOf(head *types.Header, hashes []common.Hash) *types.Block {
	for _, hash := range hashes {
		block := c.eth.BlockChain().GetBlock(hash, head.Number.Uint64()+1)
		if block != nil && block.ParentHash() == head.Hash() && c.eth.BlockChain().HasState(block.Root()) {
			return block
		}
	}
	return nil
}
