// Package nodes starts real Ethereum nodes as processes of their own, for tests and measurements: geth in its development
// mode, for realism, and anvil, whose chain can be reorganised and whose pool can be emptied by JSON-RPC.
//
// A node listens on a free port of loopback, keeps what it stores in a folder of its own, and ends with Close. The programs
// are those that `make nodes` puts into ./bin of the source; Find says so where they are missing. Nothing in Aval itself relies
// on this package but the benchmark that measures beside a node.
package nodes

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/avalhq/aval/internal/problem"
)

// The versions that `make nodes` installs: a test compares them with the Makefile and the lock file.
const (
	GethVersion  = "1.17.8"
	AnvilVersion = "1.7.1"
)

// Options say how a node runs. The zero value is a chain with id 1337 that mines a block a second.
type Options struct {
	// Program is the path of the node's program; "" looks for it with Find.
	Program string
	// ChainID is the EIP-155 chain id; 0 means 1337. geth's development mode knows no other.
	ChainID uint64
	// BlockTime is the time from block to block, in whole seconds for geth; 0 means 1 s. Negative: anvil mines each
	// transaction at once, and otherwise when it is told to.
	BlockTime time.Duration
	// GasLimit of a block; 0 means 60 million.
	GasLimit uint64
	// Arguments are added to the command line.
	Arguments []string
}

func (o Options) withDefaults() Options {
	if o.ChainID == 0 {
		o.ChainID = 1337
	}
	if o.BlockTime == 0 {
		o.BlockTime = time.Second
	}
	if o.GasLimit == 0 {
		o.GasLimit = 60_000_000
	}
	return o
}

// Node is a running node. Its methods are safe for concurrent use, those that end or start its process excepted.
type Node struct {
	options   Options
	kind      kind
	folder    string
	port      int // known from the first start on
	process   *exec.Cmd
	ended     chan struct{} // closed when the process has ended
	said      *tail
	client    *rpc.Client
	blocks    sync.Mutex // anvil: held while blocks are made or taken away
	funding   sync.Mutex // one transaction of the node's own account at a time
	lastFunds common.Hash
}

// kind is what tells one program from the other.
type kind struct {
	name, version string
	arguments     func(o Options, folder string, port int) []string
	listening     *regexp.Regexp // the line that tells the port
}

// Geth starts go-ethereum in its development mode.
func Geth(ctx context.Context, options Options) (*Node, error) {
	return launch(ctx, options.withDefaults(), kind{
		name: "geth", version: GethVersion, arguments: gethArguments,
		listening: regexp.MustCompile(`HTTP server started .*endpoint=127\.0\.0\.1:(\d+)`),
	})
}

func gethArguments(o Options, folder string, port int) []string {
	return append([]string{
		"--dev", "--dev.period", strconv.Itoa(max(0, int(o.BlockTime/time.Second))), "--dev.gaslimit", strconv.FormatUint(o.GasLimit, 10),
		"--datadir", folder, "--ipcdisable", "--nodiscover", "--maxpeers", "0", "--port", "0", "--authrpc.port", "0",
		"--http", "--http.addr", "127.0.0.1", "--http.port", strconv.Itoa(port), "--http.api", "eth,net,web3,txpool,debug",
		"--ws", "--ws.addr", "127.0.0.1", "--ws.port", strconv.Itoa(port), "--ws.api", "eth,net,web3,txpool",
	}, o.Arguments...)
}

// Anvil starts Foundry's development node.
func Anvil(ctx context.Context, options Options) (*Node, error) {
	return launch(ctx, options.withDefaults(), kind{
		name: "anvil", version: AnvilVersion, arguments: anvilArguments,
		listening: regexp.MustCompile(`Listening on 127\.0\.0\.1:(\d+)`),
	})
}

func anvilArguments(o Options, folder string, port int) []string {
	args := []string{
		"--host", "127.0.0.1", "--port", strconv.Itoa(port), "--chain-id", strconv.FormatUint(o.ChainID, 10), "--gas-limit", strconv.FormatUint(o.GasLimit, 10),
		"--state", filepath.Join(folder, "state.json"), "--order", "fees",
	}
	if o.BlockTime > 0 {
		args = append(args, "--no-mining") // transactions wait for the next block; see Node.tick
	}
	return append(args, o.Arguments...)
}

// Find gives the path of a node's program below ./bin of the source that the working directory belongs to.
func Find(name, version string) (string, error) {
	folder, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			break
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			return "", problem.New(problem.Unavailable, "node-missing", "%s is looked for in the source's bin folder, and this is outside of it: start it in the source, or name the program", name)
		}
		folder = parent
	}
	path := filepath.Join(folder, "bin", name+"-"+version)
	if _, err := os.Stat(path); err != nil {
		return "", problem.New(problem.Unavailable, "node-missing", "%s %s is not installed at %s: run make nodes", name, version, path)
	}
	return path, nil
}

func launch(ctx context.Context, options Options, k kind) (*Node, error) {
	if options.Program == "" {
		program, err := Find(k.name, k.version)
		if err != nil {
			return nil, err
		}
		options.Program = program
	}
	folder, err := os.MkdirTemp("", "aval-"+k.name+"-")
	if err != nil {
		return nil, err
	}
	n := &Node{options: options, kind: k, folder: folder}
	if err := n.Start(ctx); err != nil {
		return nil, errors.Join(err, os.RemoveAll(folder))
	}
	return n, nil
}

// Start begins the process again after Kill or Stop, on the same port, with what it has stored. It waits until the node
// answers.
func (n *Node) Start(ctx context.Context) error {
	n.process = exec.Command(n.options.Program, n.kind.arguments(n.options, n.folder, n.port)...) //nolint:gosec,noctx // starting what it is told to is what this package does; the node outlives the context of its start
	n.process.SysProcAttr = attributes()
	out, into := io.Pipe()
	n.process.Stdout, n.process.Stderr = into, into
	if err := n.process.Start(); err != nil {
		return problem.New(problem.Unavailable, "node-missing", "%s cannot be started: %w", n.options.Program, err)
	}
	n.ended, n.said = make(chan struct{}), &tail{}
	go func(process *exec.Cmd, ended chan struct{}) {
		_ = process.Wait() // how it ended stands in what it said
		_ = into.Close()
		close(ended)
	}(n.process, n.ended)
	port := make(chan int, 1)
	go n.read(out, n.said, port)
	select {
	case n.port = <-port:
	case <-n.ended:
		return n.silent("ended before it listened")
	case <-ctx.Done():
		return errors.Join(ctx.Err(), n.silent("did not listen in time"), n.Kill())
	case <-time.After(time.Minute):
		return errors.Join(n.silent("did not listen within a minute"), n.Kill())
	}
	if err := n.connect(ctx); err != nil {
		return err
	}
	if n.kind.name == "anvil" && n.options.BlockTime > 0 {
		go n.tick(n.client, n.ended)
	}
	return nil
}

func (n *Node) silent(what string) error {
	return problem.New(problem.Unavailable, "node-failed", "%s %s; it said: %s", n.kind.name, what, n.said)
}

// read keeps the end of what the node says and finds the port in it.
func (n *Node) read(out io.Reader, said *tail, port chan<- int) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		said.add(lines.Text())
		if found := n.kind.listening.FindStringSubmatch(lines.Text()); found != nil {
			number, _ := strconv.Atoi(found[1]) // digits alone
			select {
			case port <- number:
			default:
			}
		}
	}
	_, _ = io.Copy(io.Discard, out) // after a line that is too long
}

func (n *Node) connect(ctx context.Context) (err error) {
	if n.client, err = rpc.DialContext(ctx, n.URL()); err != nil {
		return errors.Join(err, n.Kill())
	}
	var id hexutil.Uint64
	for {
		if err = n.Call(ctx, &id, "eth_chainId"); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, n.Kill())
		case <-n.ended:
			return n.silent("ended when it was asked")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (n *Node) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(n.port)) }

// URL is the HTTP endpoint.
func (n *Node) URL() string { return "http://" + n.address() }

// WebSocketURL is the WebSocket endpoint.
func (n *Node) WebSocketURL() string { return "ws://" + n.address() }

// ChainID is the EIP-155 chain id.
func (n *Node) ChainID() uint64 { return n.options.ChainID }

// Call asks the node itself.
func (n *Node) Call(ctx context.Context, result any, method string, args ...any) error {
	return n.client.CallContext(ctx, result, method, args...)
}

// While gives a context that ends when the process does, and whose cause is then what the node said last: nobody waits in vain for one
// that is gone. stop has to be called before the process is ended on purpose.
func (n *Node) While(ctx context.Context) (while context.Context, stop context.CancelFunc) {
	while, end := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-n.ended:
			end(n.silent("ended by itself"))
		case <-while.Done():
		}
	}()
	return while, func() { end(nil) }
}

// Kill ends the process at once; what it had not stored is lost.
func (n *Node) Kill() error { return n.signal(syscall.SIGKILL) }

// Stop ends the process in good order. One that has only just begun to listen may not heed the signal yet, and would die of it
// without storing anything.
func (n *Node) Stop() error {
	for deadline := time.Now().Add(5 * time.Second); !heeds(n.process.Process.Pid, syscall.SIGTERM) && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	return n.signal(syscall.SIGTERM)
}

func (n *Node) signal(signal syscall.Signal) error {
	if n.client != nil {
		n.client.Close()
	}
	if err := n.process.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-n.ended:
	case <-time.After(20 * time.Second): // it does not end in good order
		_ = n.process.Process.Kill()
		<-n.ended
	}
	return nil
}

// Close ends the process and removes its folder.
func (n *Node) Close() error { return errors.Join(n.Kill(), os.RemoveAll(n.folder)) }

// Fund gives coin to an address and waits until the newest block shows it, and the node takes what is paid with it.
func (n *Node) Fund(ctx context.Context, address string, wei *big.Int) error {
	n.funding.Lock()
	defer n.funding.Unlock()
	if n.kind.name == "anvil" {
		return n.Call(ctx, nil, "anvil_setBalance", address, (*hexutil.Big)(wei))
	}
	var accounts []common.Address
	if err := n.Call(ctx, &accounts, "eth_accounts"); err != nil || len(accounts) == 0 {
		return fmt.Errorf("the node tells no account of its own: %w", err)
	}
	if err := n.Call(ctx, &n.lastFunds, "eth_sendTransaction", map[string]any{"from": accounts[0], "to": address, "value": (*hexutil.Big)(wei)}); err != nil {
		return fmt.Errorf("the node's own account does not pay: %w", err)
	}
	if err := n.mined(ctx, n.lastFunds); err != nil {
		return err
	}
	return n.forgotten(ctx, accounts[0], n.lastFunds)
}

// forgotten waits until geth's pool has no transaction of that hash any more: it looks at a new block, and at the balances in it, a
// moment after everybody else can.
func (n *Node) forgotten(ctx context.Context, from common.Address, hash common.Hash) error {
	for {
		var waiting struct {
			Pending map[string]struct{ Hash common.Hash }
		}
		if err := n.Call(ctx, &waiting, "txpool_contentFrom", from); err != nil {
			return fmt.Errorf("ask for what waits of the node's own account: %w", err)
		}
		there := false
		for _, tx := range waiting.Pending {
			there = there || tx.Hash == hash
		}
		if !there {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the node keeps the mined transaction %s in its pool: %w", hash, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// mined waits for a receipt. An error is asked again: geth has no receipts in its first moments.
func (n *Node) mined(ctx context.Context, hash common.Hash) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		var receipt *struct{}
		err := n.Call(ctx, &receipt, "eth_getTransactionReceipt", hash)
		if receipt != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("the transaction %s was not mined: %w", hash, ctx.Err()), err)
		case <-n.ended:
			return n.silent("ended")
		case <-time.After(20 * time.Millisecond):
		}
	}
}
