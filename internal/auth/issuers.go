package auth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
)

// AnyIssuer in a Config's Issuer and among Issuers accepts what the keys have signed under whatever name: several processes sign
// with one key, each under its own address.
const AnyIssuer = "*"

// Issuers picks the Verifier by the issuer that a token names; that verifier then makes sure that it is true.
type Issuers map[string]Verifier

// Verify implements Verifier.
func (i Issuers) Verify(ctx context.Context, token string) (Principal, error) {
	if len(token) > longest {
		return Principal{}, ErrToken
	}
	_, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	raw, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return Principal{}, refuse(err)
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if err := json.Unmarshal(raw, &claims); err != nil {
		return Principal{}, refuse(err)
	}
	verifier, known := i[claims.Issuer]
	if !known {
		verifier, known = i[AnyIssuer]
	}
	if !known {
		return Principal{}, ErrToken
	}
	return verifier.Verify(ctx, token)
}
