package guarantee

import (
	"context"
	"time"
)

// Definitions is the port to the workflow definitions that messages are pinned to, immutable and named by "name@hash", and to
// the aliases that say which of them new messages begin with.
// Durability, ordering and consistency are those of Store. Its conformance suite is guaranteetest.
type Definitions interface {
	// Put keeps a definition; the same reference again changes nothing.
	Put(ctx context.Context, ref string, source []byte) error
	// Definition reads one: workflow-unknown when it was never put.
	Definition(ctx context.Context, ref string) ([]byte, error)
	// References lists all definitions, in order.
	References(ctx context.Context) ([]string, error)
	// Direct makes an alias the present one of its name. Former ones stay on record.
	Direct(ctx context.Context, a Alias) error
	// Aliases gives the present alias of each name that ever had one, in order of the names.
	Aliases(ctx context.Context) ([]Alias, error)
}

// Alias says which definitions the new messages of one type begin with. Without routes it is lifted: they begin with the newest.
type Alias struct {
	Name   string // the message type
	Routes []Route
	By     string // who set it
	At     time.Time
}

// Route is one definition's part of an alias.
type Route struct {
	Ref    string `json:"ref"`    // name "@" hash
	Weight int    `json:"weight"` // its share of the sum of all weights; at least 1
}
