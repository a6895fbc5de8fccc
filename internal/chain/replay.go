package chain

import "context"

// Replayer is the port to why a mined transaction has failed. Durability: none, nodes forget old states. Ordering: any.
// Consistency: the answer is about the transaction's block, as near as the node can come to it. Errors are those of Network.
// Its suite is chaintest.
type Replayer interface {
	// Replay says in words why the transaction, mined with that status, was reverted.
	Replay(ctx context.Context, tx Unsigned, status Status) (reason string, err error)
}
