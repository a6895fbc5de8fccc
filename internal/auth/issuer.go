package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/avalhq/aval/internal/problem"
)

// Secret is a credential of the development issuer: who may ask for tokens, with which scopes.
type Secret struct {
	Client string   // the subject of the tokens
	Hash   []byte   // SHA-256 of the secret, which is 256 random bits: it needs no slow hash
	Scopes []string // the most that is granted
}

// Secrets is the port to the development issuer's credentials.
//
// Durability: what returned nil is on stable storage. Ordering: the last Put of a client wins. Consistency: reads see every
// write that returned before they began. Its conformance suite is authtest.
type Secrets interface {
	// Put adds a client's secret or replaces it.
	Put(ctx context.Context, s Secret) error
	// Get reads one: ErrSecretUnknown otherwise.
	Get(ctx context.Context, client string) (Secret, error)
}

// ErrSecretUnknown is what Secrets.Get says of a client without one.
var ErrSecretUnknown = problem.New(problem.NotFound, "secret-unknown", "the client has no secret at the development issuer")

// Issuer is the development issuer: an OIDC issuer with the client-credentials grant and one ES256 key. It is meant for
// development and tests; in production a real issuer stands in its place.
type Issuer struct {
	URL      string        // the iss claim and the base of its addresses
	Audience string        // the aud claim
	Lifetime time.Duration // of a token; 0 is one hour
	Now      func() time.Time

	key     SigningKey
	secrets Secrets
}

// NewIssuer makes an Issuer; url is without a slash at its end.
func NewIssuer(url, audience string, key SigningKey, secrets Secrets) *Issuer {
	return &Issuer{URL: strings.TrimSuffix(url, "/"), Audience: audience, Lifetime: time.Hour, Now: time.Now, key: key, secrets: secrets}
}

// Keys verifies its tokens in the same process, without a request.
func (i *Issuer) Keys() oidc.KeySet { return i.key.public() }

// Enroll gives a client a fresh secret, told once; an older one ends with it.
func (i *Issuer) Enroll(ctx context.Context, client string, scopes ...string) (string, error) {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails: it ends the program when the system has no randomness
	secret := "sec_" + base64.RawURLEncoding.EncodeToString(raw)
	hash := sha256.Sum256([]byte(secret))
	if err := i.secrets.Put(ctx, Secret{Client: client, Hash: hash[:], Scopes: scopes}); err != nil {
		return "", fmt.Errorf("keep the secret of %s: %w", client, err)
	}
	return secret, nil
}

// Check tells whether the secret is the client's, and what it may ask for.
func (i *Issuer) Check(ctx context.Context, client, secret string) (Secret, error) {
	known, err := i.secrets.Get(ctx, client)
	hash := sha256.Sum256([]byte(secret))
	if err != nil && !errors.Is(err, ErrSecretUnknown) {
		return Secret{}, fmt.Errorf("look up the secret of a client: %w", err)
	}
	if err != nil || subtle.ConstantTimeCompare(hash[:], known.Hash) != 1 {
		return Secret{}, problem.New(problem.Unauthenticated, "client-secret-wrong", "the client id or the secret is wrong")
	}
	return known, nil
}

// Mint signs a token. Whoever calls it has decided that the subject may have it.
func (i *Issuer) Mint(subject string, scopes ...string) (string, time.Time, error) {
	now := i.Now()
	expires := now.Add(i.Lifetime)
	id, err := uuid.NewRandom()
	if err != nil {
		return "", time.Time{}, fmt.Errorf("name a token: %w", err)
	}
	claims, err := json.Marshal(map[string]any{
		"iss": i.URL, "sub": subject, "aud": i.Audience, "client_id": subject, "scope": strings.Join(scopes, " "),
		"iat": now.Unix(), "exp": expires.Unix(), "jti": id.String(),
	})
	if err != nil {
		return "", time.Time{}, fmt.Errorf("encode a token: %w", err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: i.key.jwk()}, (&jose.SignerOptions{}).WithType("at+jwt"))
	if err != nil {
		return "", time.Time{}, fmt.Errorf("sign a token: %w", err)
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("sign a token: %w", err)
	}
	token, err := signed.CompactSerialize()
	return token, expires, err
}
