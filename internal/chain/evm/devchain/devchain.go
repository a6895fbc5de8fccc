// Package devchain is an Ethereum development chain inside the process: a real node (go-ethereum), its state transition,
// transaction pool and JSON-RPC, with nobody else on the network and blocks made on demand.
//
// JSON-RPC is served on loopback over HTTP and WebSocket (one port) and, when asked, over an IPC socket. A block is made
// when transactions wait, at most one every BlockTime; Trail empty blocks follow, so that confirmation depth grows.
// A block's time is at least one second after its parent's, so a busy chain's clock runs ahead of the wall's.
//
// With a Folder the chain persists: a block is on stable storage before any client can see it, so a process killed at any
// moment comes back with every block that was ever reported. What waits in the pool is lost with the process, as on a real
// node: whoever sent it sends the same bytes again (I13). Without a Folder everything is in memory.
//
// A faucet account holds the coin of genesis. Its key lies in the chain's own folder: it stands for the outside world and is
// none of Aval's custody keys. dev_faucet(address, weiHex) sends from it.
//
// go-ethereum logs through one process-wide logger; Config.Log, when set, becomes its handler.
package devchain

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/eth"
	"github.com/ethereum/go-ethereum/node"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/avalhq/aval/internal/problem"
)

// Config says how the chain runs. The zero value is a chain in memory on a free port.
type Config struct {
	// Folder keeps the chain between starts; "" keeps it in memory.
	Folder string
	// ChainID is the EIP-155 chain id; 0 means 1337. A folder keeps the one it began with.
	ChainID uint64
	// Port of JSON-RPC on 127.0.0.1, HTTP and WebSocket; 0 takes a free one.
	Port int
	// IPC is the path of a socket that serves the same; "" serves none.
	IPC string
	// BlockTime is the least time between two blocks; 0 means 100 ms.
	BlockTime time.Duration
	// Trail is how many empty blocks follow the last transaction; 0 means 12, negative means none.
	Trail int
	// Log receives the node's log; nil leaves go-ethereum's logger as it is, which discards.
	Log slog.Handler
}

func (c Config) withDefaults() Config {
	if c.ChainID == 0 {
		c.ChainID = 1337
	}
	if c.BlockTime <= 0 {
		c.BlockTime = 100 * time.Millisecond
	}
	if c.Trail == 0 {
		c.Trail = 12
	}
	c.Trail = max(c.Trail, 0)
	return c
}

// Chain is a running development chain.
type Chain struct {
	config Config
	stack  *node.Node
	eth    *eth.Ethereum

	faucet   *ecdsa.PrivateKey
	faucetMu sync.Mutex // one faucet nonce at a time

	listener net.Listener
	rpc      *rpc.Server
	http     *http.Server
	ipc      net.Listener
	served   sync.WaitGroup

	sealing  sync.Mutex    // one block at a time
	quit     chan struct{} // closed to end block production
	produced chan struct{} // closed when it has ended; nil until it begins
	close    func() error
}

// Start runs a chain until Close. Refusals: port-in-use, chain-mismatch (the folder holds a chain with another id or faucet),
// folder-in-use, folder-unusable (no room, no right, damaged).
func Start(ctx context.Context, config Config) (*Chain, error) {
	config = config.withDefaults()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	c := &Chain{config: config, quit: make(chan struct{})}
	c.close = sync.OnceValue(c.shutdown)
	if config.Log != nil {
		setLogger(config.Log)
	}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(err, c.abort())
	}
	return c, nil
}

func (c *Chain) start(ctx context.Context) error {
	if err := c.listen(); err != nil { // first: a port in use should leave no folder behind
		return err
	}
	var err error
	if c.faucet, err = faucetKey(c.config.Folder); err != nil {
		return err
	}
	if err := c.openNode(); err != nil {
		return c.explain(err)
	}
	if err := c.begin(ctx); err != nil {
		return fmt.Errorf("making the first block of the development chain: %w", err)
	}
	c.startProducing()
	return c.serve()
}

// explain turns a node's refusal to open into a sentence.
func (c *Chain) explain(err error) error {
	var genesis *core.GenesisMismatchError
	switch {
	case errors.As(err, &genesis):
		return problem.New(problem.Conflict, "chain-mismatch",
			"the folder %s holds a development chain that began with another chain id than %d or another faucet key: "+
				"start with the chain id it began with, or choose an empty folder: %w", c.config.Folder, c.config.ChainID, err)
	case errors.Is(err, node.ErrDatadirUsed):
		return problem.New(problem.Conflict, "folder-in-use",
			"another process runs the development chain in %s: end it, or choose another folder: %w", c.config.Folder, err)
	}
	if c.config.Folder == "" {
		return fmt.Errorf("starting the development chain: %w", err)
	}
	return problem.New(problem.Unavailable, "folder-unusable",
		"the development chain in %s cannot be opened: check that the disk has room and that the folder is yours; if its files are damaged, "+
			"remove the folder to begin a new chain, with none of the old one's transactions: %w", c.config.Folder, err)
}

// URL is the HTTP endpoint.
func (c *Chain) URL() string { return "http://" + c.listener.Addr().String() }

// WebSocketURL is the WebSocket endpoint.
func (c *Chain) WebSocketURL() string { return "ws://" + c.listener.Addr().String() }

// IPC is the path of the socket, "" when none was asked for.
func (c *Chain) IPC() string { return c.config.IPC }

// ChainID is the EIP-155 chain id.
func (c *Chain) ChainID() uint64 { return c.config.ChainID }

// Close ends the servers, block production and the node, in this order. Closing again does nothing.
func (c *Chain) Close() error { return c.close() }

func (c *Chain) shutdown() error {
	err := c.stopServing()
	c.stopProducing()
	return errors.Join(err, c.stack.Close())
}

// abort cleans up after a start that failed half-way.
func (c *Chain) abort() error {
	var err error
	if c.rpc != nil {
		err = c.stopServing()
	} else if c.listener != nil {
		err = c.listener.Close()
	}
	if c.produced != nil {
		c.stopProducing()
	}
	if c.stack != nil {
		err = errors.Join(err, c.stack.Close())
	}
	return err
}

func (c *Chain) path(name string) string { return filepath.Join(c.config.Folder, name) }
