package evm_test

import (
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/chain/evm"
)

// node is a node that answers what a test wants and counts.
type node struct {
	mu       sync.Mutex
	id       uint64
	refuses  error                  // what eth_sendRawTransaction answers
	lost     error                  // what eth_getTransactionByHash answers about others
	knows    map[common.Hash]bool   // transactions that wait in the pool
	mined    map[common.Hash]object // receipts
	plain    bool                   // does not know eth_getBlockReceipts
	head     uint64
	blocks   map[uint64]common.Hash // canonical
	wrong    map[uint64]error       // what eth_getBlockByNumber answers about these
	stuck    chan struct{}          // told when it is asked for stuckBlock, which it answers when freed is closed; nil: at once
	freed    chan struct{}          // see stuck
	codeless error                  // what eth_getCode answers; nil: that there is some
	base     *big.Int               // of the next block; nil: a chain without
	rewards  []string               // of the newest blocks, each "10:1 50:2" by percentile, "" for an empty block
	price    *big.Int               // what it suggests as a gas price, nil when it does not
	tip      *big.Int               // what it suggests as a tip; nil: 5
	limit    uint64                 // gas of a block
	needs    uint64                 // gas of a call
	balance  *big.Int               // of everybody; with it eth_sendRawTransaction refuses only the next late times
	late     int
	asked    map[string]int
	rounds   int
	status   int // other than 0: every round answers it
}

type object = map[string]any

const stuckBlock = 100 // see node.stuck

func (n *node) did(method string) {
	n.asked[method]++
}

func (n *node) ChainId() hexutil.Uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.did("chainId")
	return hexutil.Uint64(n.id)
}

func (n *node) BlockNumber() hexutil.Uint64 { return hexutil.Uint64(n.head) }

func (n *node) SendRawTransaction(raw hexutil.Bytes) (common.Hash, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.balance != nil {
		if n.late--; n.late < 0 {
			return crypto.Keccak256Hash(raw), nil
		}
	}
	return crypto.Keccak256Hash(raw), n.refuses
}

func (n *node) GetBalance(common.Address, string) *hexutil.Big { return (*hexutil.Big)(n.balance) }

func (n *node) GetTransactionByHash(hash common.Hash) (object, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.did("getTransactionByHash")
	if !n.knows[hash] {
		return nil, n.lost
	}
	return object{"hash": hash}, nil
}

func (n *node) GetTransactionReceipt(hash common.Hash) object {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.did("getTransactionReceipt")
	return n.mined[hash]
}

func (n *node) GetBlockReceipts(block common.Hash) (all []object, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.did("getBlockReceipts")
	if n.plain {
		return nil, missingMethod{}
	}
	for _, receipt := range n.mined {
		if receipt["blockHash"] == block {
			all = append(all, receipt)
		}
	}
	return all, nil
}

// missingMethod is what a node says that does not know a method.
type missingMethod struct{}

func (missingMethod) Error() string {
	return "the method eth_getBlockReceipts does not exist/is not available"
}

func (missingMethod) ErrorCode() int { return -32601 }

func (n *node) GetBlockByNumber(number rpc.BlockNumber, _ bool) (object, error) {
	if number == stuckBlock && n.stuck != nil {
		n.stuck <- struct{}{}
		<-n.freed
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if number == rpc.LatestBlockNumber {
		return n.headBlock(), nil
	}
	n.did("getBlockByNumber")
	if hash, ok := n.blocks[uint64(number)]; ok && n.wrong[uint64(number)] == nil {
		return object{"hash": hash}, nil
	}
	return nil, n.wrong[uint64(number)]
}

func (n *node) GetCode(common.Address, string) (hexutil.Bytes, error) {
	if n.codeless != nil {
		return nil, n.codeless
	}
	return hexutil.Bytes{1}, nil
}

func (n *node) EstimateGas(call object, _ string) hexutil.Uint64 {
	if call["input"] != nil {
		return hexutil.Uint64(max(n.needs, 100_000))
	}
	return 21_000
}

// serve offers the node over HTTP.
func serve(t *testing.T, n *node) string {
	t.Helper()
	if n.id == 0 {
		n.id = 1
	}
	n.asked = make(map[string]int)
	server := rpc.NewServer()
	must(t, server.RegisterName("eth", n))
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.mu.Lock()
		n.rounds++
		status := n.status
		n.mu.Unlock()
		if status != 0 {
			http.Error(w, "the key "+r.URL.Path+" is not valid", status)
			return
		}
		server.ServeHTTP(w, r)
	}))
	t.Cleanup(outside.Close)
	return outside.URL
}

func TestANonceThatIsUsedMeansLookingUp(t *testing.T) {
	for _, said := range []string{"nonce too low", "replacement transaction underpriced"} {
		waiting, minedAlready, other := []byte("waiting"), []byte("mined"), []byte("other")
		n := &node{refuses: errors.New(said), knows: map[common.Hash]bool{
			crypto.Keccak256Hash(waiting): true, crypto.Keccak256Hash(minedAlready): true,
		}}
		network := dial(t, evm.Config{URLs: []string{serve(t, n)}, ChainID: 1})
		errs := network.Send(t.Context(), [][]byte{waiting, other, minedAlready})
		if errs[0] != nil || errs[2] != nil || !is(errs[1], "transaction-refused") {
			t.Errorf("%q: known, unknown, known answer %v", said, errs)
		}
	}
}

// TestAPoolThatIsLateIsAskedAgain: the newest block shows the coin, the pool does not know of it yet.
func TestAPoolThatIsLateIsAskedAgain(t *testing.T) {
	n := &node{base: big.NewInt(100), refuses: errors.New("insufficient funds for gas * price + value")}
	network := dial(t, evm.Config{URLs: []string{serve(t, n)}, ChainID: 1})
	by := newKey(t)
	txs, errs := network.Build(t.Context(), []chain.Call{{From: by.Address(), To: checksummed[0], Value: big.NewInt(1)}})
	must(t, errs[0])
	digest, err := network.Codec().Digest(txs[0], 0)
	must(t, err)
	signed, err := network.Codec().Assemble(txs[0], 0, signature(t, by, digest))
	must(t, err)
	for _, test := range []struct {
		balance *big.Int
		late    int // times that it is refused
		want    string
	}{
		{big.NewInt(21000*205 + 1), 0, ""}, {big.NewInt(21000*205 + 1), 2, ""}, {big.NewInt(21000*205 + 1), 100, "chain-busy"},
		{big.NewInt(21000 * 205), 100, "insufficient-funds"},
	} {
		n.balance, n.late = test.balance, test.late
		if err := network.Send(t.Context(), [][]byte{signed.Raw})[0]; (test.want != "" || err != nil) && !is(err, test.want) {
			t.Errorf("with %s wei and %d refusals: %v, not %q", test.balance, test.late, err, test.want)
		}
	}
}

func TestALookUpThatFailsIsNoRefusal(t *testing.T) { // I5: an unknown outcome stays unknown
	n := &node{refuses: errors.New("nonce too low"), lost: errors.New("header not found")}
	network := dial(t, evm.Config{URLs: []string{serve(t, n)}, ChainID: 1})
	if err := network.Send(t.Context(), [][]byte{{1}})[0]; !is(err, "chain-unreachable") {
		t.Errorf("an unknown outcome answers %v", err)
	}
}

func TestAReceiptOfAnAbandonedBlockIsPending(t *testing.T) { // I14
	tx, block := common.Hash{1}, common.Hash{2}
	n := &node{
		head: 12, blocks: map[uint64]common.Hash{10: block},
		mined: map[common.Hash]object{tx: {
			"blockHash": block, "blockNumber": "0xa", "status": "0x1", "gasUsed": "0x5208", "effectiveGasPrice": "0x2",
		}},
	}
	network := dial(t, evm.Config{URLs: []string{serve(t, n)}, ChainID: 1})
	want := chain.Status{State: chain.Mined, Head: 12, Success: true, Block: 10, Hash: block.Hex(), Depth: 3, GasUsed: 21000}
	got := statusOf(t, network, tx)
	if got.Fee.Int64() != 42000 {
		t.Errorf("the fee is %s", got.Fee)
	}
	if got.Fee = nil; got != want {
		t.Errorf("in the canonical block: %+v, not %+v", got, want)
	}
	for name, blocks := range map[string]map[uint64]common.Hash{"replaced": {10: {3}}, "gone": {}} {
		n.blocks = blocks
		if got := statusOf(t, network, tx); got.State != chain.Pending || got.Depth != 0 {
			t.Errorf("its block is %s: %+v", name, got)
		}
	}
	n.blocks, n.head = map[uint64]common.Hash{10: block}, 9
	if got := statusOf(t, network, tx); got.State != chain.Pending {
		t.Errorf("above the head it is %+v", got)
	}
	n.head = 10
	n.mined[tx]["status"] = "0x0"
	if got := statusOf(t, network, tx); got.State != chain.Mined || got.Success {
		t.Errorf("a reverted transaction is %+v", got)
	}
}

func statusOf(t *testing.T, network *evm.Network, tx common.Hash) chain.Status {
	t.Helper()
	statuses, err := network.Status(t.Context(), []string{tx.Hex()})
	must(t, err)
	return statuses[0]
}

func TestBatchesAreFewRounds(t *testing.T) {
	n := &node{base: big.NewInt(100)}
	network := dial(t, evm.Config{URLs: []string{serve(t, n)}, ChainID: 1, MaxBatch: 10})
	calls := make([]chain.Call, 25)
	for i := range calls {
		calls[i] = chain.Call{From: checksummed[0], To: checksummed[1], Value: big.NewInt(1)}
	}
	n.rounds = 0
	for range 2 {
		txs, errs := network.Build(t.Context(), calls)
		for i := range txs {
			must(t, errs[i])
		}
	}
	if n.rounds != 1+3+3 || n.asked["feeHistory"] != 1 {
		t.Errorf("two builds of 25 calls with 10 a batch took %d rounds and asked %d times for fees", n.rounds, n.asked["feeHistory"])
	}
	n.rounds = 0
	for _, err := range network.Send(t.Context(), make([][]byte, 10)) {
		must(t, err)
	}
	if n.rounds != 1 {
		t.Errorf("sending 10 took %d rounds", n.rounds)
	}
}

func TestAFeeThatIsTooLowIsAskedForAgain(t *testing.T) {
	n := &node{base: big.NewInt(100), refuses: errors.New("max fee per gas less than block base fee")}
	network := dial(t, evm.Config{URLs: []string{serve(t, n)}, ChainID: 1, FeeAge: time.Hour})
	call := []chain.Call{{From: checksummed[0], To: checksummed[1]}}
	network.Build(t.Context(), call)
	if err := network.Send(t.Context(), [][]byte{{1}})[0]; !is(err, "transaction-underpriced") {
		t.Errorf("sending answers %v", err)
	}
	n.base = big.NewInt(200)
	if txs, _ := network.Build(t.Context(), call); txs[0].Fee.Int64() != 405 {
		t.Errorf("the fee is still %s", txs[0].Fee)
	}
}

func TestTheChainIsCheckedAgainAfterAFailure(t *testing.T) {
	n := &node{id: 7}
	network, err := evm.Dial(t.Context(), evm.Config{URLs: []string{serve(t, n)}, ChainID: 7})
	must(t, err)
	defer network.Close()
	_, err = network.Head(t.Context())
	must(t, err)
	n.id, n.status = 8, http.StatusBadGateway // another node takes its place
	if _, err = network.Head(t.Context()); !is(err, "chain-unreachable") {
		t.Errorf("while it is away: %v", err)
	}
	n.status = 0
	for range 2 {
		if _, err = network.Head(t.Context()); !is(err, "chain-mismatch") || !strings.Contains(err.Error(), "serves chain 8 and not 7") {
			t.Errorf("after it changed: %v", err)
		}
	}
	n.id = 7
	_, err = network.Head(t.Context())
	must(t, err)
}

func TestErrorsNeverShowTheEndpointsSecrets(t *testing.T) { // I25
	n := &node{status: http.StatusUnauthorized}
	here := strings.TrimPrefix(serve(t, n), "http://")
	for _, url := range []string{
		"http://user:canary@127.0.0.1:1/v3/canary?key=canary", "ws://user:canary@127.0.0.1:1/canary", "http://user:canary@" + here + "/canary",
		"ws://" + here + "/canary", "http://user:canary@127.0.0.1:port/canary", "https://user:canary%zz@host/canary", "ftp://canary@127.0.0.1/canary", "http:///canary",
	} {
		_, err := evm.Dial(t.Context(), evm.Config{URLs: []string{url}, ChainID: 1, Timeout: time.Second})
		if err == nil {
			t.Fatalf("%s is reached", url)
		}
		for cause := err; cause != nil; cause = errors.Unwrap(cause) {
			if strings.Contains(cause.Error(), "canary") {
				t.Errorf("%s shows the secret: %v", url, cause)
			}
		}
		if !is(err, "chain-unreachable") && !is(err, "config-invalid") {
			t.Errorf("%s answers %v", url, err)
		}
	}
}

func TestAConfigurationThatCannotWorkIsRefused(t *testing.T) {
	if _, err := evm.Dial(t.Context(), evm.Config{ChainID: 1}); !is(err, "config-invalid") {
		t.Errorf("no endpoint: %v", err)
	}
	if _, err := evm.Dial(t.Context(), evm.Config{URLs: []string{t.TempDir() + "/no.ipc"}, ChainID: 1}); !is(err, "chain-unreachable") {
		t.Errorf("a socket that is not there: %v", err)
	}
}
