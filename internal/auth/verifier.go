package auth

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/maypok86/otter/v2"

	"github.com/avalhq/aval/internal/problem"
)

// algorithms are all asymmetric: a token can never be signed with what everyone may know (A20).
var algorithms = []string{oidc.ES256, oidc.ES384, oidc.ES512, oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA}

const (
	remembered = 5 * time.Minute // how long a verified token is trusted without a new check
	cached     = 16384           // verified tokens remembered at once
	longest    = 8 << 10         // bytes of a token; more is refused unread
)

// Config describes the issuer whose tokens are accepted.
type Config struct {
	Issuer   string           // its URL, exactly as in the iss claim; or AnyIssuer
	Audience string           // must be in the aud claim
	Subject  string           // claim that holds the client id or the operator's name; "" is sub
	Now      func() time.Time // nil is time.Now
}

// trusted is a principal whose token was verified, and until when that is believed.
type trusted struct {
	Principal
	until time.Time
}

// OIDC verifies the tokens of one issuer. It is safe for concurrent use.
type OIDC struct {
	config   Config
	verifier *oidc.IDTokenVerifier
	seen     *otter.Cache[[sha256.Size]byte, trusted]
}

// New verifies against the keys given: those of Discover, or of an Issuer in the same process.
func New(config Config, keys oidc.KeySet) (*OIDC, error) {
	if config.Issuer == "" || config.Audience == "" {
		return nil, errors.New("the token issuer's URL and the audience must both be configured")
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	seen, err := otter.New(&otter.Options[[sha256.Size]byte, trusted]{MaximumSize: cached})
	if err != nil {
		return nil, fmt.Errorf("make the cache of verified tokens: %w", err)
	}
	verifier := oidc.NewVerifier(config.Issuer, outage{keys}, &oidc.Config{
		ClientID: config.Audience, SupportedSigningAlgs: algorithms, Now: config.Now, SkipIssuerCheck: config.Issuer == AnyIssuer,
	})
	return &OIDC{config: config, verifier: verifier, seen: seen}, nil
}

// Verify implements Verifier.
func (v *OIDC) Verify(ctx context.Context, token string) (Principal, error) {
	if len(token) > longest || strings.Count(token, ".") != 2 { // the compact form only: one signature, protected headers
		return Principal{}, ErrToken
	}
	hash, now := sha256.Sum256([]byte(token)), v.config.Now()
	if known, ok := v.seen.GetIfPresent(hash); ok && now.Before(known.until) {
		return known.Principal, nil
	}
	p, err := v.check(ctx, token)
	if err != nil {
		v.seen.Invalidate(hash)
		return Principal{}, err
	}
	until := now.Add(remembered)
	if p.Expires.Before(until) {
		until = p.Expires
	}
	v.seen.Set(hash, trusted{p, until})
	return p, nil
}

func (v *OIDC) check(ctx context.Context, token string) (Principal, error) {
	var down error
	t, err := v.verifier.Verify(context.WithValue(ctx, outageKey{}, &down), token)
	if down != nil {
		return Principal{}, down
	}
	if err != nil {
		return Principal{}, refuse(err)
	}
	claims := map[string]json.RawMessage{}
	if err := t.Claims(&claims); err != nil {
		return Principal{}, refuse(err)
	}
	subject := t.Subject
	if v.config.Subject != "" {
		subject = ""
		if err := json.Unmarshal(claims[v.config.Subject], &subject); err != nil {
			return Principal{}, refuse(fmt.Errorf("the claim %s is not a string", v.config.Subject))
		}
	}
	if subject == "" {
		return Principal{}, refuse(errors.New("the token has no subject"))
	}
	return Principal{Subject: subject, Scopes: scopes(claims), Expires: t.Expiry}, nil
}

// scopes reads "scope" (RFC 9068: a string with spaces) or "scp" (some issuers: a list).
func scopes(claims map[string]json.RawMessage) []string {
	for _, name := range []string{"scope", "scp"} {
		var text string
		if json.Unmarshal(claims[name], &text) == nil && text != "" {
			return strings.Fields(text)
		}
		var list []string
		if json.Unmarshal(claims[name], &list) == nil && list != nil {
			return list
		}
	}
	return nil
}

// outage hands an issuer that is down past go-oidc, which keeps only the text of what a key set says: whoever has a good
// token must not be told that it is bad.
type outage struct{ oidc.KeySet }

type outageKey struct{}

// VerifySignature implements oidc.KeySet.
func (o outage) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	payload, err := o.KeySet.VerifySignature(ctx, token)
	if down, ok := ctx.Value(outageKey{}).(*error); ok && err != nil && problem.KindOf(err) == problem.Unavailable {
		*down = err
	}
	return payload, err
}
