package auth_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/avalhq/aval/internal/auth"
	"github.com/avalhq/aval/internal/problem"
)

// issuer is an OIDC issuer of the test's own, with an RSA and an EC key.
type issuer struct {
	*httptest.Server
	rsa   *rsa.PrivateKey
	ec    *ecdsa.PrivateKey
	looks atomic.Int32 // at its keys
	down  atomic.Bool
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{}
	var err error
	if i.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	if i.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		write(w, map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys", "id_token_signing_alg_values_supported": []string{"HS256", "none"}})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		i.looks.Add(1)
		write(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
			{Key: i.rsa.Public(), KeyID: "rsa", Algorithm: "RS256", Use: "sig"}, {Key: i.ec.Public(), KeyID: "ec", Algorithm: "ES256", Use: "sig"},
		}})
	})
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if i.down.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(i.Close)
	return i
}

func write(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }

// claims are good ones, changed.
func (i *issuer) claims(changes map[string]any) map[string]any {
	c := map[string]any{
		"iss": i.URL, "sub": "cli_1", "aud": "aval", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(), "scope": "openid aval:client",
	}
	for name, value := range changes {
		c[name] = value
	}
	return c
}

func segment(v any) string {
	raw, _ := json.Marshal(v)
	return base64.RawURLEncoding.EncodeToString(raw)
}

// sign signs by hand, so that any header is possible.
func sign(t *testing.T, header, claims map[string]any, key any) string {
	t.Helper()
	signed := segment(header) + "." + segment(claims)
	digest := sha256.Sum256([]byte(signed))
	var signature []byte
	var err error
	switch key := key.(type) {
	case *rsa.PrivateKey:
		signature, err = rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
	case *ecdsa.PrivateKey:
		r, s, e := ecdsa.Sign(rand.Reader, key, digest[:])
		signature, err = make([]byte, 64), e
		r.FillBytes(signature[:32])
		s.FillBytes(signature[32:])
	case []byte:
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(signed))
		signature = mac.Sum(nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func verifier(t *testing.T, i *issuer, now func() time.Time) *auth.OIDC {
	t.Helper()
	v, err := auth.New(auth.Config{Issuer: i.URL, Audience: "aval", Now: now}, auth.Discover(i.URL, http.DefaultClient))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestGoodTokens(t *testing.T) {
	i := newIssuer(t)
	v := verifier(t, i, nil)
	for name, token := range map[string]string{
		"RS256": sign(t, map[string]any{"alg": "RS256", "kid": "rsa"}, i.claims(nil), i.rsa),
		"ES256": sign(t, map[string]any{"alg": "ES256", "kid": "ec", "typ": "at+jwt"}, i.claims(map[string]any{"aud": []string{"other", "aval"}}), i.ec),
		"scp":   sign(t, map[string]any{"alg": "ES256", "kid": "ec"}, i.claims(map[string]any{"scope": nil, "scp": []string{"aval:client"}}), i.ec),
	} {
		p, err := v.Verify(t.Context(), token)
		if err != nil || p.Subject != "cli_1" || !p.Has(auth.Client) || p.Has(auth.Operator) || time.Until(p.Expires) < 50*time.Minute {
			t.Errorf("%s: got %+v, %v", name, p, err)
		}
	}
}

func TestA20BadTokens(t *testing.T) {
	i, stranger := newIssuer(t), newIssuer(t)
	v := verifier(t, i, nil)
	public, err := x509.MarshalPKIXPublicKey(i.rsa.Public())
	if err != nil {
		t.Fatal(err)
	}
	asPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	own := jose.JSONWebKey{Key: stranger.ec.Public(), KeyID: "ec", Algorithm: "ES256"}
	good := sign(t, map[string]any{"alg": "ES256", "kid": "ec"}, i.claims(nil), i.ec)
	parts := strings.Split(good, ".")
	es := func(header map[string]any) map[string]any {
		h := map[string]any{"alg": "ES256", "kid": "ec"}
		for name, value := range header {
			h[name] = value
		}
		return h
	}
	for name, token := range map[string]string{
		"alg none":                       segment(map[string]any{"alg": "none"}) + "." + segment(i.claims(nil)) + ".",
		"alg None":                       segment(map[string]any{"alg": "None"}) + "." + segment(i.claims(nil)) + ".",
		"alg none with a signature":      segment(map[string]any{"alg": "none", "kid": "ec"}) + "." + parts[1] + "." + parts[2],
		"HS256 with the public key, PEM": sign(t, map[string]any{"alg": "HS256", "kid": "rsa"}, i.claims(nil), asPEM),
		"HS256 with the public key, DER": sign(t, map[string]any{"alg": "HS256", "kid": "rsa"}, i.claims(nil), public),
		"another's key under our kid":    sign(t, es(nil), i.claims(nil), stranger.ec),
		"no kid":                         sign(t, map[string]any{"alg": "ES256"}, i.claims(nil), stranger.ec),
		"unknown kid":                    sign(t, es(map[string]any{"kid": "mine"}), i.claims(nil), stranger.ec),
		"kid that is a path":             sign(t, es(map[string]any{"kid": "../../dev/null"}), i.claims(nil), stranger.ec),
		"jku to another's keys":          sign(t, es(map[string]any{"jku": stranger.URL + "/keys"}), i.claims(nil), stranger.ec),
		"x5u to another's keys":          sign(t, es(map[string]any{"x5u": stranger.URL + "/keys"}), i.claims(nil), stranger.ec),
		"its own key in the header":      sign(t, es(map[string]any{"jwk": own}), i.claims(nil), stranger.ec),
		"RS256 key as ES256":             sign(t, es(map[string]any{"kid": "rsa"}), i.claims(nil), i.rsa),
		"crit that nobody knows":         sign(t, es(map[string]any{"crit": []string{"b64"}, "b64": false}), i.claims(nil), i.ec),
		"wrong audience":                 sign(t, es(nil), i.claims(map[string]any{"aud": "elsewhere"}), i.ec),
		"no audience":                    sign(t, es(nil), i.claims(map[string]any{"aud": nil}), i.ec),
		"wrong issuer":                   sign(t, es(nil), i.claims(map[string]any{"iss": stranger.URL}), i.ec),
		"issuer with a slash":            sign(t, es(nil), i.claims(map[string]any{"iss": i.URL + "/"}), i.ec),
		"expired":                        sign(t, es(nil), i.claims(map[string]any{"exp": time.Now().Add(-time.Second).Unix()}), i.ec),
		"never expires":                  sign(t, es(nil), i.claims(map[string]any{"exp": nil}), i.ec),
		"not yet good":                   sign(t, es(nil), i.claims(map[string]any{"nbf": time.Now().Add(time.Hour).Unix()}), i.ec),
		"no subject":                     sign(t, es(nil), i.claims(map[string]any{"sub": ""}), i.ec),
		"changed claims":                 parts[0] + "." + segment(i.claims(map[string]any{"scope": "aval:operator"})) + "." + parts[2],
		"cut signature":                  good[:len(good)-4],
		"zero signature":                 parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(make([]byte, 64)),
		"no signature":                   parts[0] + "." + parts[1] + ".",
		"JSON serialization":             `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"empty":                          "",
		"huge":                           good + strings.Repeat("A", 9000),
	} {
		if p, err := v.Verify(t.Context(), token); !errors.Is(err, auth.ErrToken) {
			t.Errorf("%s: got %+v, %v, want token-invalid", name, p, err)
		}
	}
	if stranger.looks.Load() != 0 {
		t.Error("a token made us ask another issuer for keys")
	}
	if _, err := v.Verify(t.Context(), good); err != nil {
		t.Errorf("the good token afterwards: %v", err)
	}
	if n := i.looks.Load(); n > 2 {
		t.Errorf("bad tokens made us ask the issuer for keys %d times", n)
	}
}

// A verified token is trusted without a new check for five minutes, never beyond its expiry.
func TestVerifiedTokensAreRemembered(t *testing.T) {
	i := newIssuer(t)
	var clock atomic.Pointer[time.Time]
	set := func(at time.Time) { clock.Store(&at) }
	start := time.Now()
	set(start)
	keys := &counted{KeySet: auth.Discover(i.URL, http.DefaultClient)}
	v, err := auth.New(auth.Config{Issuer: i.URL, Audience: "aval", Now: func() time.Time { return *clock.Load() }}, keys)
	if err != nil {
		t.Fatal(err)
	}
	short := sign(t, map[string]any{"alg": "ES256", "kid": "ec"}, i.claims(map[string]any{"exp": start.Add(2 * time.Minute).Unix()}), i.ec)
	long := sign(t, map[string]any{"alg": "ES256", "kid": "ec"}, i.claims(nil), i.ec)
	for _, step := range []struct {
		after  time.Duration
		token  string
		good   bool
		checks int32 // so far
	}{
		{0, long, true, 1}, {4 * time.Minute, long, true, 1}, {6 * time.Minute, long, true, 2}, {61 * time.Minute, long, false, 3},
		{0, short, true, 4}, {time.Minute, short, true, 4}, {3 * time.Minute, short, false, 5},
	} {
		set(start.Add(step.after))
		if _, err := v.Verify(t.Context(), step.token); (err == nil) != step.good || keys.checks.Load() != step.checks {
			t.Errorf("after %s: got %v and %d checks, want good %v and %d", step.after, err, keys.checks.Load(), step.good, step.checks)
		}
	}
}

type keySet interface {
	VerifySignature(ctx context.Context, token string) ([]byte, error)
}

type counted struct {
	KeySet keySet
	checks atomic.Int32
}

func (c *counted) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	c.checks.Add(1)
	return c.KeySet.VerifySignature(ctx, token)
}

// Who has a good token is told that the issuer is down, not that the token is bad.
func TestIssuerDown(t *testing.T) {
	i := newIssuer(t)
	i.down.Store(true)
	v := verifier(t, i, nil)
	good := sign(t, map[string]any{"alg": "ES256", "kid": "ec"}, i.claims(nil), i.ec)
	for range 2 { // the second is answered from memory
		if _, err := v.Verify(t.Context(), good); problem.From(err).Code != "issuer-unreachable" {
			t.Fatalf("got %v, want issuer-unreachable", err)
		}
	}
}

func TestIssuersPicksByIssuer(t *testing.T) {
	a, b, c := newIssuer(t), newIssuer(t), newIssuer(t)
	both := auth.Issuers{a.URL: verifier(t, a, nil), b.URL: verifier(t, b, nil)}
	header := map[string]any{"alg": "ES256", "kid": "ec"}
	for _, i := range []*issuer{a, b} {
		if _, err := both.Verify(t.Context(), sign(t, header, i.claims(nil), i.ec)); err != nil {
			t.Errorf("a token of one of the two: %v", err)
		}
	}
	for name, token := range map[string]string{
		"a third issuer's":               sign(t, header, c.claims(nil), c.ec),
		"b's key for a's name":           sign(t, header, a.claims(nil), b.ec),
		"a third's key for a's name":     sign(t, header, a.claims(nil), c.ec),
		"nothing":                        "",
		"no JSON where the claims are":   "a.b.c",
		"no base64 where the claims are": "a.!.c",
	} {
		if _, err := both.Verify(t.Context(), token); !errors.Is(err, auth.ErrToken) {
			t.Errorf("%s: got %v, want token-invalid", name, err)
		}
	}
}

func TestSubjectFromAnotherClaim(t *testing.T) {
	i := newIssuer(t)
	v, err := auth.New(auth.Config{Issuer: i.URL, Audience: "aval", Subject: "aval_client"}, auth.Discover(i.URL, http.DefaultClient))
	if err != nil {
		t.Fatal(err)
	}
	header := map[string]any{"alg": "RS256", "kid": "rsa"}
	p, err := v.Verify(t.Context(), sign(t, header, i.claims(map[string]any{"aval_client": "cli_2"}), i.rsa))
	if err != nil || p.Subject != "cli_2" {
		t.Errorf("got %+v, %v", p, err)
	}
	if _, err := v.Verify(t.Context(), sign(t, header, i.claims(nil), i.rsa)); !errors.Is(err, auth.ErrToken) {
		t.Errorf("without the claim: got %v", err)
	}
	if !slices.Contains(p.Scopes, "openid") {
		t.Errorf("got scopes %v", p.Scopes)
	}
}
