package stage

import (
	"context"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/ethclient"
)

// Walk reads every block of a node from the first to the newest, and gives the transactions in it.
func Walk(ctx context.Context, url string, each func(block uint64, tx *types.Transaction, from common.Address) error) error {
	view, err := ethclient.DialContext(ctx, url)
	if err != nil {
		return err
	}
	defer view.Close()
	id, err := view.ChainID(ctx)
	if err != nil {
		return fmt.Errorf("ask for the chain's id: %w", err)
	}
	head, err := view.BlockNumber(ctx)
	if err != nil {
		return err
	}
	signer := types.LatestSignerForChainID(id)
	for number := range head + 1 {
		block, err := view.BlockByNumber(ctx, new(big.Int).SetUint64(number))
		if err != nil {
			return fmt.Errorf("read block %d: %w", number, err)
		}
		for _, tx := range block.Transactions() {
			from, err := types.Sender(signer, tx)
			if err == nil {
				err = each(number, tx, from)
			}
			if err != nil {
				return fmt.Errorf("block %d, transaction %s: %w", number, tx.Hash(), err)
			}
		}
	}
	return nil
}
