package stage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/avalhq/aval/client"
)

// Party is a client of an installation, as its back end would hold itself: credentials, and a signer key of its own.
type Party struct {
	*client.Client
	ID     string
	Secret string
	Sign   client.Signer
	Token  *client.Credentials
	URL    string
}

// Enroll registers a client whose signatures sign makes from address.
func Enroll(ctx context.Context, operator *client.Client, url, name, address string, sign client.Signer, options ...client.Option) (*Party, error) {
	p, err := operator.CreateClient(ctx, name, address)
	if err != nil {
		return nil, fmt.Errorf("register %s: %w", name, err)
	}
	tokens := &client.Credentials{URL: url + "/oauth/token", ID: p.ID, Secret: p.Secret}
	c, err := client.New(url, append(options, client.WithTokens(tokens))...)
	return &Party{Client: c, ID: p.ID, Secret: p.Secret, Sign: sign, Token: tokens, URL: url}, err
}

// NewSigner makes a key that signs messages.
func NewSigner() (address string, sign client.Signer, err error) {
	key, err := crypto.GenerateKey()
	if err != nil {
		return "", nil, err
	}
	return crypto.PubkeyToAddress(key.PublicKey).Hex(), client.KeySigner(key), nil
}

// Gone says whether an error can come of the process's being dead. What a refusal says is not looked at: it has none.
func Gone(err error) bool {
	var p *client.Problem
	return !errors.As(err, &p) || p.Status >= http.StatusInternalServerError
}

// Answer is what a request by hand got.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do makes a request by hand: what the SDK would not send, or would hide. token "" sends the party's own.
func (p *Party) Do(tb testing.TB, method, path, token string, body []byte) Answer {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, p.URL+path, bytes.NewReader(body))
	if err == nil && token == "" {
		token, err = p.Token.Token(ctx)
	}
	if err != nil {
		tb.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return Answer{Status: response.StatusCode, Header: response.Header, Body: content}
}
