// Package bus carries records between roles: what is to be signed, what was signed, what has happened, what is due.
//
// A bus is never the truth. Whatever is on a topic was committed to the database before, so each topic can be lost and filled
// again, and a record may come twice. Who acts on a record looks at the committed row that it names, and makes sure in the
// transaction that changes state that the same record changes it once (I17). A group's offsets only spare work.
//
// Records with the same key keep their order; records with different keys have none. Who needs an order, chooses the key by it.
package bus

import "context"

// The topics. On a bus that others use as well their names have a prefix there, which nobody here sees.
const (
	Unsigned = "transactions.unsigned" // requests for a signature; by key, or by pool and step
	Signed   = "transactions.signed"   // signed transactions; by key
	Events   = "events"                // what has happened to messages, as CloudEvents 1.0 JSON; by message
	Due      = "due"                   // ids of messages that are due; by message
)

// Topics gives the names of all topics.
func Topics() []string { return []string{Unsigned, Signed, Events, Due} }

// Record is an entry of a topic.
type Record struct {
	Topic   string
	Key     string // what keeps its order
	Value   []byte // JSON
	Headers map[string]string

	// Where it was found; set when it is read. Offsets grow within a partition, without regard to gaps.
	Partition int32
	Offset    int64
}

// Bus is the port to what carries records.
//
// Durability: what Publish has accepted survives a crash of every process and server; it is kept until every group has committed
// it, for a bounded time. Ordering: by key, in the order in which Publish accepted them. Consistency: a record is given at least
// once to one member of each group, and none that was committed by its publisher is skipped (I16). Its conformance suite is bustest.
type Bus interface {
	// Publish appends records. After an error they may be there, in part or twice. What is published again comes after it.
	Publish(ctx context.Context, records []Record) error
	// Join makes a member of a group, whose members share the topics' records. A group that is new begins with the oldest
	// record that is kept.
	Join(ctx context.Context, group string, topics ...string) (Member, error)
	// Backlogs tells operators how far the groups are behind: for each group that has committed something, how many records of each
	// of its topics it has not. A moment's estimate; above some ten thousand it may stay there.
	Backlogs(ctx context.Context) ([]Backlog, error)
}

// Backlog is how many records of a topic a group has not committed.
type Backlog struct {
	Group, Topic string
	Records      int64
}

// Member is a reader of topics. Its methods may be called at the same time.
//
// The records of a partition, and so of a key, are with one member at a time. When a member joins, leaves or dies they are handed
// over: what was not committed is given again, to another member or to the same one.
type Member interface {
	// Poll waits for at least one record and gives at most limit. A member that does not poll holds up its share.
	Poll(ctx context.Context, limit int) ([]Record, error)
	// Commit says that these records, and all before them in their partitions, are done. For records that another member has
	// been given meanwhile it changes nothing.
	Commit(ctx context.Context, done []Record) error
	// Close hands what was not committed to the others.
	Close() error
}
