// Package keystore is where private keys live. They never leave it: a key is a handle that signs.
package keystore

import "context"

// Handle names a key and signs with it.
type Handle interface {
	// ID is the key's id.
	ID() string
	// Public is the uncompressed public key, 65 bytes.
	Public() []byte
	// Sign signs a 32-byte digest: r, s and recovery id, 65 bytes, s in the lower half of the order.
	Sign(ctx context.Context, digest []byte) ([]byte, error)
}

// Store is the port to a key store. Durability: Generate returns once the key can never be lost to a crash.
// Refusals: key-unknown, keystore-locked. Its conformance suite is keystoretest.
type Store interface {
	// Generate makes a secp256k1 key.
	Generate(ctx context.Context, id string) (Handle, error)
	// Open finds a key.
	Open(ctx context.Context, id string) (Handle, error)
}
