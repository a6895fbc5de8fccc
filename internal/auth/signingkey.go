package auth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// SigningKey is what the development issuer signs tokens with: a P-256 key and its RFC 7638 thumbprint as key id.
type SigningKey struct {
	private *ecdsa.PrivateKey
	id      string
}

// NewSigningKey makes a key that nobody keeps.
func NewSigningKey() (SigningKey, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return SigningKey{}, fmt.Errorf("generate the issuer's key: %w", err)
	}
	return named(private)
}

// LoadSigningKey reads the key from a PEM file, which it makes, readable by its owner alone, when there is none.
func LoadSigningKey(path string) (SigningKey, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return createSigningKey(path)
	}
	if err != nil {
		return SigningKey{}, fmt.Errorf("read the issuer's key: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return SigningKey{}, fmt.Errorf("the issuer's key %s can be read by others, who could make tokens with it; run: chmod 600 %s", path, path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return SigningKey{}, fmt.Errorf("read the issuer's key: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return SigningKey{}, fmt.Errorf("the issuer's key %s is not a PEM file; remove it to have a new one made", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return SigningKey{}, fmt.Errorf("the issuer's key %s cannot be read; remove it to have a new one made: %w", path, err)
	}
	private, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || private.Curve != elliptic.P256() {
		return SigningKey{}, fmt.Errorf("the issuer's key %s is not a P-256 key; remove it to have a new one made", path)
	}
	return named(private)
}

func createSigningKey(path string) (SigningKey, error) {
	key, err := NewSigningKey()
	if err != nil {
		return SigningKey{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key.private)
	if err != nil {
		return SigningKey{}, fmt.Errorf("encode the issuer's key: %w", err)
	}
	if err := writeWhole(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
		return SigningKey{}, fmt.Errorf("keep the issuer's key: %w", err)
	}
	return key, nil
}

// writeWhole leaves either no file or the whole one, whenever the process dies.
func writeWhole(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".key-*") // made with mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
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
