package keystore

import "context"

// Blobs is the port to where a store keeps what it has sealed: small values under names, which are of no use to whoever has not
// the key-encryption key. Names are paths of lower-case letters, digits, "_", "-" and ".", with "/" between their parts.
//
// Durability: what returned nil is on stable storage; an error that is none of fs.ErrExist and fs.ErrNotExist leaves the
// outcome unknown. Ordering: none. Consistency: what Add or Replace stored is found by every Get that begins afterwards, whole
// and in any process; nothing is ever lost or replaced but by Replace. Its conformance suite is keystoretest, RunBlobs.
type Blobs interface {
	// Get reads a value: fs.ErrNotExist when there is none.
	Get(ctx context.Context, name string) ([]byte, error)
	// Add stores a value under a name that is free: fs.ErrExist otherwise, and what is there stays.
	Add(ctx context.Context, name string, content []byte) error
	// Replace stores another value where the one that is there is former: fs.ErrNotExist otherwise. It may need more rights
	// than a running program has, for nothing but a change of the key-encryption key calls it.
	Replace(ctx context.Context, name string, former, content []byte) error
	// List gives all names below a folder, such as "keys", in order.
	List(ctx context.Context, folder string) ([]string, error)
	// Where says where a value is, for the sentence that tells what is wrong with it.
	Where(name string) string
}
