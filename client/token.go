package client

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

// TokenSource gives bearer tokens.
type TokenSource interface {
	// Token gives one that is good for a while.
	Token(ctx context.Context) (string, error)
	// Renew says whether Token can give another one than this, which was refused.
	Renew(refused string) bool
}

// Static is a token that does not change.
type Static string

// Token gives it.
func (s Static) Token(context.Context) (string, error) { return string(s), nil }

// Renew cannot.
func (Static) Renew(string) bool { return false }

// Credentials gets tokens by the client-credentials grant of OAuth2 and keeps each until shortly before its end.
type Credentials struct {
	URL    string // of the token endpoint
	ID     string
	Secret string
	Scopes []string // what is asked for; none means all that is allowed
	HTTP   *http.Client

	mu    sync.Mutex
	token *oauth2.Token
}

// Token gives a kept or a fresh one.
func (c *Credentials) Token(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token != nil && (c.token.Expiry.IsZero() || time.Until(c.token.Expiry) > 30*time.Second) {
		return c.token.AccessToken, nil
	}
	if c.HTTP != nil {
		ctx = context.WithValue(ctx, oauth2.HTTPClient, c.HTTP)
	}
	config := clientcredentials.Config{ClientID: c.ID, ClientSecret: c.Secret, TokenURL: c.URL, Scopes: c.Scopes, AuthStyle: oauth2.AuthStyleInHeader}
	token, err := config.Token(ctx)
	if err != nil {
		return "", fmt.Errorf("get a token for %s: %w", c.ID, err)
	}
	c.token = token
	return token.AccessToken, nil
}

// Renew forgets the token if it is still the one that was refused.
func (c *Credentials) Renew(refused string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token != nil && c.token.AccessToken == refused {
		c.token = nil
	}
	return true
}
