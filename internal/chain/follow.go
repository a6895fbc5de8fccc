package chain

import "context"

// Tag names a block by how sure the chain is of it.
type Tag string

// The tags. Not every chain has the last two.
const (
	Latest    Tag = "latest"
	Safe      Tag = "safe"
	Finalized Tag = "finalized"
)

// Follower is the port to what a chain shows of our accounts as it grows. Errors are those of Network; chain-unsupported when
// the chain has no such tag. Durability: the chain's own. Ordering: heads come in the order in which the node has them, and a
// slow reader misses some. Consistency: answers of one call are of one node; two calls can see different heads, and a later
// one an older head. Its suite is chaintest.
type Follower interface {
	// Nonces asks how many transactions of each address are mined, in one round trip, and at which head or before: who has come
	// so far knows of all of them.
	Nonces(ctx context.Context, addresses []string) (nonces []uint64, head uint64, err error)
	// Height is the number of the block with the tag.
	Height(ctx context.Context, tag Tag) (uint64, error)
	// Heads tells the number of the newest block whenever it changes, until ctx ends, which closes the channel.
	Heads(ctx context.Context) <-chan uint64
}
