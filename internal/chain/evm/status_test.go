package evm_test

import (
	"context"
	"errors"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/chain/evm"
)

// scattered is a node with one transaction in each of the blocks, which it also gives by their numbers.
func scattered(numbers ...uint64) (n *node, hashes map[uint64]string) {
	n = &node{head: 200, blocks: map[uint64]common.Hash{}, mined: map[common.Hash]object{}, wrong: map[uint64]error{}}
	hashes = map[uint64]string{}
	for _, number := range numbers {
		tx, block := common.BigToHash(new(big.Int).SetUint64(number)), common.BigToHash(new(big.Int).SetUint64(1000+number))
		n.blocks[number], hashes[number] = block, tx.Hex()
		n.mined[tx] = object{
			"transactionHash": tx, "blockHash": block, "blockNumber": hexutil.Uint64(number),
			"status": "0x1", "gasUsed": "0x5208", "effectiveGasPrice": "0x2",
		}
	}
	return n, hashes
}

// TestI18ABlockThatANodeCannotTellConcernsItsOwnReceiptsAlone: whoever asks at the same time is answered.
func TestI18ABlockThatANodeCannotTellConcernsItsOwnReceiptsAlone(t *testing.T) {
	for _, said := range []string{"header not found", "words that nobody knows", "request timed out"} {
		n, hashes := scattered(10, 11, 12)
		n.wrong[11] = errors.New(said)
		network := dial(t, evm.Config{URLs: []string{serve(t, n)}, ChainID: 1})
		var all sync.WaitGroup
		for i := range 60 {
			all.Go(func() {
				good := uint64(10 + 2*(i%2))
				asked := []string{hashes[good]}
				if i%5 == 0 {
					asked = append(asked, hashes[11])
				}
				statuses, err := network.Status(t.Context(), asked)
				if err != nil || statuses[0].State != chain.Mined || statuses[0].Block != good {
					t.Errorf("%q of block 11, and of one in block %d: %+v, %v", said, good, statuses, err)
				} else if len(statuses) > 1 && statuses[1].State != chain.Pending {
					t.Errorf("%q of its block, and it is %+v", said, statuses[1])
				}
			})
		}
		all.Wait()
	}
}

// TestANodeThatTellsNoBlockHasNotAnswered: of a node as a whole that is an error, so that another is asked.
func TestANodeThatTellsNoBlockHasNotAnswered(t *testing.T) {
	for _, said := range []string{"request timed out", "Method not enabled", "daily request count exceeded, request rate limited"} {
		n, hashes := scattered(10, 11)
		n.wrong[10], n.wrong[11] = errors.New(said), errors.New(said)
		network := dial(t, evm.Config{URLs: []string{serve(t, n)}, ChainID: 1})
		if statuses, err := network.Status(t.Context(), []string{hashes[10], hashes[11]}); !is(err, "chain-unreachable") {
			t.Errorf("%q: %+v, %v", said, statuses, err)
		}
	}
}

// TestABlockThatIsNotToldIsKept: only one that another has taken the place of is forgotten.
func TestABlockThatIsNotToldIsKept(t *testing.T) {
	n, hashes := full(40)
	network := dial(t, evm.Config{URLs: []string{serve(t, n)}, ChainID: 1})
	for _, wrong := range []map[uint64]error{nil, {11: errors.New("header not found")}, nil} {
		n.wrong = wrong
		statuses, err := network.Status(t.Context(), hashes)
		must(t, err)
		if statuses[0].State != chain.Mined || (statuses[40].State == chain.Mined) != (wrong == nil) {
			t.Errorf("with %v wrong: %+v in block 10, %+v in block 11", wrong, statuses[0], statuses[40])
		}
	}
	if blocks := n.asked["getBlockReceipts"]; blocks != 2 {
		t.Errorf("the receipts of 2 blocks were asked for %d times", blocks)
	}
}

// TestWhoAsksForManyBlocksHoldsUpNobody: and whoever has no time left while others are answered is told so.
func TestWhoAsksForManyBlocksHoldsUpNobody(t *testing.T) {
	var numbers []uint64
	for number := range uint64(20) {
		numbers = append(numbers, stuckBlock+number)
	}
	n, hashes := scattered(append(numbers, 10)...)
	n.stuck, n.freed = make(chan struct{}), make(chan struct{})
	network := dial(t, evm.Config{URLs: []string{serve(t, n)}, ChainID: 1, Timeout: time.Minute})
	var all sync.WaitGroup
	look := func(numbers ...uint64) {
		var asked []string
		for _, number := range numbers {
			asked = append(asked, hashes[number])
		}
		all.Go(func() {
			if statuses, err := network.Status(t.Context(), asked); err != nil || statuses[0].State != chain.Mined {
				t.Errorf("%d that had to wait: %+v, %v", len(asked), statuses, err)
			}
		})
		<-n.stuck
	}
	soon := func(within time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		_, err := network.Status(ctx, []string{hashes[10]})
		return err
	}
	look(numbers...)
	if err := soon(20 * time.Second); err != nil {
		t.Errorf("while another asks for %d blocks: %v", len(numbers), err)
	}
	look(stuckBlock)
	if err := soon(50 * time.Millisecond); !is(err, "chain-unreachable") || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without time to wait: %v", err)
	}
	close(n.freed)
	all.Wait()
}
