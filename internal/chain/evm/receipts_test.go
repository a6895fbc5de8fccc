package evm_test

import (
	"testing"

	"github.com/ethereum/go-ethereum/common"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/chain/evm"
)

// full is a node with so many transactions in each of its blocks 10 and 11, and one that waits.
func full(each int) (n *node, hashes []string) {
	n = &node{head: 11, blocks: map[uint64]common.Hash{10: {10}, 11: {11}}, mined: map[common.Hash]object{}, knows: map[common.Hash]bool{}}
	for i := range 2 * each {
		tx := common.Hash{byte(i + 1)}
		n.putInto(tx, 10+i/each)
		hashes = append(hashes, tx.Hex())
	}
	waiting := common.Hash{255}
	n.knows[waiting] = true
	return n, append(hashes, waiting.Hex())
}

func (n *node) putInto(tx common.Hash, block int) {
	n.mined[tx] = object{
		"transactionHash": tx, "blockHash": common.Hash{byte(block)}, "blockNumber": []string{"0xa", "0xb"}[block%10],
		"status": "0x1", "gasUsed": "0x5208", "effectiveGasPrice": "0x2",
	}
}

// TestManyReceiptsAreAskedForByBlock: in a few requests, with the answers that each transaction's own receipt gives, also from a
// node that knows no other way.
func TestManyReceiptsAreAskedForByBlock(t *testing.T) {
	for name, plain := range map[string]bool{"by block": false, "one by one": true} {
		n, hashes := full(40)
		n.plain = plain
		network := dial(t, evm.Config{URLs: []string{serve(t, n)}, ChainID: 1})
		for range 2 { // what is kept gives the same answer again
			statuses, err := network.Status(t.Context(), hashes)
			must(t, err)
			for i, s := range statuses[:80] {
				if s.State != chain.Mined || s.Block != uint64(10+i/40) || s.Fee.Int64() != 42000 {
					t.Fatalf("%s: transaction %d is %+v, fee %s", name, i, s, s.Fee)
				}
			}
			if statuses[80].State != chain.Pending {
				t.Errorf("%s: the one that waits is %+v", name, statuses[80])
			}
		}
		if receipts, blocks := n.asked["getTransactionReceipt"], n.asked["getBlockReceipts"]; !plain && (receipts > 10 || blocks != 2) || plain && (receipts < 160 || blocks != 1) {
			t.Errorf("%s: asked for %d receipts and %d blocks", name, receipts, blocks)
		}
	}
}

// TestI14KeptReceiptsFollowAReorganisation: a block that is gone is not kept, and what another one holds is found there.
func TestI14KeptReceiptsFollowAReorganisation(t *testing.T) {
	n, hashes := full(40)
	network := dial(t, evm.Config{URLs: []string{serve(t, n)}, ChainID: 1})
	look := func() []chain.Status {
		statuses, err := network.Status(t.Context(), hashes)
		must(t, err)
		return statuses
	}
	look()
	n.blocks[11] = common.Hash{21}
	for _, hash := range hashes[40:79] { // the last one is in no block any more
		n.putInto(common.HexToHash(hash), 21)
	}
	delete(n.mined, common.HexToHash(hashes[79]))
	for i, s := range look()[40:80] { // the first look finds that what was kept is not canonical
		if s.State == chain.Mined {
			t.Errorf("transaction %d is %+v, in a block that is gone", 40+i, s)
		}
	}
	statuses := look()
	for i, s := range statuses[40:79] {
		if s.State != chain.Mined || s.Hash != (common.Hash{21}).Hex() {
			t.Errorf("transaction %d is %+v", 40+i, s)
		}
	}
	if statuses[79].State != chain.Unknown || statuses[0].State != chain.Mined {
		t.Errorf("the one that is in no block is %+v, one of the block before %+v", statuses[79], statuses[0])
	}
}
