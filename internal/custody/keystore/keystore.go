// Package keystore is where private keys live. They never leave it: a key is a handle that signs.
//
// A store knows ids, public keys and how to sign; what a key is used for, by whom and with which nonce is in packages key
// and signer. There is no import and no export: keys are born in the store (A17 has nothing to refuse) and are backed up
// sealed, with the store. sealed/ keeps them in files.
package keystore

import "context"

// Handle names a key and signs with it. Printed, logged or marshalled in any way it shows its id and address alone (A29).
// It is safe for concurrent use.
type Handle interface {
	// ID is the key's id.
	ID() string
	// Public is the uncompressed public key, 65 bytes.
	Public() []byte
	// Sign signs a 32-byte digest: r, s and recovery id, 65 bytes, s in the lower half of the order.
	Sign(ctx context.Context, digest []byte) ([]byte, error)
}

// Store is the port to a key store. Durability: Generate returns once the key can never be lost to a crash. Ordering: none.
// Consistency: an id names one key for ever, which Open finds as soon as Generate has returned. Refusals: those of errors.go. Its
// conformance suite is keystoretest.
type Store interface {
	// Generate makes a secp256k1 key. An id that is taken is key-exists, and its key is as it was.
	Generate(ctx context.Context, id string) (Handle, error)
	// Open finds a key.
	Open(ctx context.Context, id string) (Handle, error)
}
