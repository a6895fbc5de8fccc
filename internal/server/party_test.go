package server_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/avalhq/aval/internal/auth"
	"github.com/avalhq/aval/internal/clients"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/server"
	"github.com/avalhq/aval/internal/server/trial"
	"github.com/avalhq/aval/internal/typeid"
	"github.com/avalhq/aval/schemas"
)

// party is a registered client with a token and a key.
type party struct {
	t     testing.TB
	edge  *trial.Edge
	id    string
	token string
	key   *ecdsa.PrivateKey
}

func newParty(t testing.TB, e *trial.Edge, name string) *party {
	t.Helper()
	key, err := crypto.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	p := &party{t: t, edge: e, id: typeid.New("cli"), key: key}
	err = e.Clients.Put(t.Context(), clients.Client{ID: p.id, Name: name, Created: time.Now(), Signers: []common.Address{crypto.PubkeyToAddress(key.PublicKey)}})
	if err != nil {
		t.Fatal(err)
	}
	if p.token, _, err = e.Issuer.Mint(p.id, auth.Client); err != nil {
		t.Fatal(err)
	}
	return p
}

func operator(t testing.TB, e *trial.Edge) *party {
	return &party{t: t, edge: e, id: "operator", token: e.Operator(t)}
}

// answer is a response read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// problem is what the client makes of a refusal.
func (a answer) problem(t testing.TB) server.Problem {
	t.Helper()
	var p server.Problem
	if a.header.Get("Content-Type") != "application/problem+json" || json.Unmarshal(a.body, &p) != nil || p.Status != a.status {
		t.Fatalf("got %d %s, which is no problem document: %s", a.status, a.header.Get("Content-Type"), a.body)
	}
	return p
}

func (a answer) into(t testing.TB, status int, out any) {
	t.Helper()
	if a.status != status {
		t.Fatalf("got %d, want %d: %s", a.status, status, a.body)
	}
	if err := json.Unmarshal(a.body, out); err != nil {
		t.Fatalf("%s: %v", a.body, err)
	}
}

// code is the last part of a problem's type.
func (a answer) refused(t testing.TB, status int, code string) {
	t.Helper()
	if p := a.problem(t); p.Status != status || p.Type != "/problems/"+code {
		t.Fatalf("got %d %s (%s), want %d /problems/%s", p.Status, p.Type, p.Detail, status, code)
	}
}

func (p *party) request(ctx context.Context, method, path string, body []byte) *http.Request {
	r, err := http.NewRequestWithContext(ctx, method, p.edge.URL+path, bytes.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	if p.token != "" {
		r.Header.Set("Authorization", "Bearer "+p.token)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

func (p *party) call(method, path string, body []byte) answer {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Second) // a stream where a refusal was due must not last
	defer cancel()
	return do(p.t, p.request(ctx, method, path, body))
}

func do(t testing.TB, r *http.Request) answer {
	t.Helper()
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, raw}
}

func (p *party) get(path string) answer { p.t.Helper(); return p.call("GET", path, nil) }

// issue gets one id.
func (p *party) issue() server.Issued {
	p.t.Helper()
	var ids server.IssuedIDs
	p.call("POST", "/v1/message-ids", []byte(`{}`)).into(p.t, http.StatusCreated, &ids)
	return ids.IDs[0]
}

// note signs a note.v1 under the id.
func (p *party) note(id server.Issued, text string) []byte {
	p.t.Helper()
	catalog, err := message.NewCatalog(schemas.FS())
	if err != nil {
		p.t.Fatal(err)
	}
	m := message.Message{
		ID: id.ID, Type: "note.v1", Client: p.id, Chain: trial.Chain, Expires: id.Expires.Truncate(time.Second),
		Body: json.RawMessage(fmt.Sprintf(`{"text":%q}`, text)),
	}
	signed, err := catalog.Submission(m, message.EIP712, p.edge.Domain, func(digest common.Hash) ([]byte, error) { return crypto.Sign(digest[:], p.key) })
	if err != nil {
		p.t.Fatal(err)
	}
	return signed
}

// submit has one note accepted.
func (p *party) submit(text string) (message.ID, []byte) {
	p.t.Helper()
	id := p.issue()
	signed := p.note(id, text)
	var m server.Message
	p.call("PUT", "/v1/messages/"+string(id.ID), signed).into(p.t, http.StatusCreated, &m)
	return m.ID, signed
}
