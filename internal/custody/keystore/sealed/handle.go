package sealed

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/avalhq/aval/internal/custody/keystore"
	"github.com/avalhq/aval/internal/problem"
)

// Handle is an opened key. The private key is in the closure of sign and nowhere else: whatever walks over the fields of
// a Handle finds the address of a function.
type Handle struct {
	id      string
	address string
	public  []byte
	sign    func(digest []byte) ([]byte, error)
}

func newHandle(id string, private *ecdsa.PrivateKey) *Handle {
	return &Handle{
		id: id, address: crypto.PubkeyToAddress(private.PublicKey).Hex(), public: crypto.FromECDSAPub(&private.PublicKey),
		sign: func(digest []byte) ([]byte, error) { return crypto.Sign(digest, private) },
	}
}

// ID is the key's id.
func (h *Handle) ID() string { return h.id }

// Public is the uncompressed public key, 65 bytes; the caller's own copy.
func (h *Handle) Public() []byte { return append([]byte(nil), h.public...) }

// Sign signs a digest: the nonce is that of RFC 6979, s is in the lower half of the order, the last byte is the recovery
// id, 0 or 1.
func (h *Handle) Sign(ctx context.Context, digest []byte) ([]byte, error) {
	if len(digest) != 32 {
		return nil, problem.New(keystore.ErrDigest.Kind, keystore.ErrDigest.Code, "the key %s signs digests of 32 bytes, not of %d", h.id, len(digest))
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	signature, err := h.sign(digest)
	if err != nil {
		return nil, fmt.Errorf("sign with the key %s: %w", h.id, err)
	}
	return signature, nil
}

// String shows id and address.
func (h *Handle) String() string { return h.id + " (" + h.address + ")" }

// GoString shows id and address.
func (h *Handle) GoString() string { return h.String() }

// Format shows id and address, whatever the verb.
func (h *Handle) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, h.String()) }

// MarshalJSON shows id and address.
func (h *Handle) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"id": h.id, "address": h.address})
}

// LogValue shows id and address.
func (h *Handle) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", h.id), slog.String("address", h.address))
}
