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

// Use is a nonce of an address that the chain has spent, and what may have spent it.
type Use struct {
	Address string
	Nonce   uint64
	Hashes  []string // of all transactions that were signed with it
	Seen    Sighting // of one of them; zero when none was seen
}

// Sighting is a transaction in a block.
type Sighting struct {
	Hash      string
	Block     uint64
	BlockHash string // "": who tells of it does not know; it is the canonical one, unless that shows that it does not hold the transaction
}

// Trace is what the chain's nodes still know of a Use.
type Trace struct {
	Known  bool   // false: no node can tell what has spent the nonce
	Hash   string // which of the Hashes has; "" where Known: none of them
	Ended  bool   // a receipt tells how that one ended; false: Status tells nothing but where it is
	Status Status // of Hash
}

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
	// Trace finds what a nonce was used for, also where no node has a receipt any more: of who keeps the state and the blocks of the
	// time. That nobody can tell is an answer, not an error.
	Trace(ctx context.Context, u Use) (Trace, error)
	// Heads tells the number of the newest block whenever it changes, until ctx ends, which closes the channel.
	Heads(ctx context.Context) <-chan uint64
}
