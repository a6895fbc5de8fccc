package guarantee

import "strings"

// Part is a piece of a message's place that is stored beside it, under a key of its own: so a commit writes what has changed,
// however large the whole is. Keys and data are the machine's own (see package machine); nothing here looks inside.
//
// In a Transition, a part with data is stored in the stead of the one with its key. One without data is removed, and where its
// key ends in "/", so are all whose keys begin with it. They are applied in their order. In a Record there are those that are
// stored, in the order of their keys' bytes.
type Part struct {
	Key  string
	Data []byte
}

// Branch tells whether the key stands for all keys that begin with it.
func (p Part) Branch() bool { return strings.HasSuffix(p.Key, "/") }
