package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// SigningKey is what the development issuer signs tokens with: a P-256 key and its RFC 7638 thumbprint as key id.
type SigningKey struct {
	private *ecdsa.PrivateKey
	id      string
}

// SigningKeyFrom gives the key that belongs to a secret of 32 random bytes: all processes that know the secret sign with one key.
func SigningKeyFrom(secret []byte) (SigningKey, error) {
	for seed := sha256.Sum256(append([]byte("aval development issuer 1\n"), secret...)); ; seed = sha256.Sum256(seed[:]) {
		if private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed[:]); err == nil { // all but 2^-32 of the seeds are keys
			return named(private)
		}
	}
}

func named(private *ecdsa.PrivateKey) (SigningKey, error) {
	thumbprint, err := (&jose.JSONWebKey{Key: private.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		return SigningKey{}, fmt.Errorf("name the issuer's key: %w", err)
	}
	return SigningKey{private: private, id: base64.RawURLEncoding.EncodeToString(thumbprint)}, nil
}

func (k SigningKey) jwk() *jose.JSONWebKey {
	return &jose.JSONWebKey{Key: k.private, KeyID: k.id, Algorithm: string(jose.ES256), Use: "sig"}
}

func (k SigningKey) public() oidc.KeySet { return ownKey{k.private.Public(), k.id} }

// ownKey verifies against the one key, whatever key a token's header would like to be used.
type ownKey struct {
	public crypto.PublicKey
	id     string
}

// VerifySignature implements oidc.KeySet.
func (k ownKey) VerifySignature(_ context.Context, token string) ([]byte, error) {
	jws, err := jose.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return nil, err
	}
	if jws.Signatures[0].Header.KeyID != k.id {
		return nil, errors.New("the token names another key")
	}
	return jws.Verify(k.public)
}
