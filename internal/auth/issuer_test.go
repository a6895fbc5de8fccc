package auth_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/avalhq/aval/internal/auth"
)

// vault keeps secrets in memory.
type vault struct {
	mu      sync.Mutex
	secrets map[string]auth.Secret
}

func (v *vault) Put(_ context.Context, s auth.Secret) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.secrets[s.Client] = s
	return nil
}

func (v *vault) Get(_ context.Context, client string) (auth.Secret, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s, ok := v.secrets[client]
	if !ok {
		return s, auth.ErrSecretUnknown
	}
	return s, nil
}

// development runs the development issuer over HTTP, with the key that belongs to a secret.
func development(t *testing.T, secret string) (*auth.Issuer, *vault) {
	t.Helper()
	key, err := auth.SigningKeyFrom([]byte(secret))
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewUnstartedServer(nil)
	v := &vault{secrets: map[string]auth.Secret{}}
	i := auth.NewIssuer("http://"+h.Listener.Addr().String(), "aval", key, v)
	h.Config.Handler = i.Handler()
	h.Start()
	t.Cleanup(h.Close)
	return i, v
}

func ask(t *testing.T, i *auth.Issuer, id, secret string, form url.Values, basic bool) (int, map[string]any) {
	t.Helper()
	if !basic {
		form.Set("client_id", id)
		form.Set("client_secret", secret)
	}
	r, err := http.NewRequestWithContext(t.Context(), "POST", i.URL+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if basic {
		r.SetBasicAuth(id, secret)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var out map[string]any
	if err := json.NewDecoder(response.Body).Decode(&out); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, out
}

func TestDevelopmentIssuer(t *testing.T) {
	i, v := development(t, "one")
	secret, err := i.Enroll(t.Context(), "cli_1", auth.Client)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(v.secrets["cli_1"].Hash), secret) {
		t.Error("the secret itself is kept")
	}
	discovered, err := auth.New(auth.Config{Issuer: i.URL, Audience: "aval"}, auth.Discover(i.URL, http.DefaultClient))
	if err != nil {
		t.Fatal(err)
	}
	inside, err := auth.New(auth.Config{Issuer: i.URL, Audience: "aval"}, i.Keys())
	if err != nil {
		t.Fatal(err)
	}
	for _, basic := range []bool{true, false} {
		status, out := ask(t, i, "cli_1", secret, url.Values{"grant_type": {"client_credentials"}}, basic)
		token, _ := out["access_token"].(string)
		if status != 200 || out["token_type"] != "Bearer" || out["expires_in"] != 3600.0 {
			t.Fatalf("got %d %v", status, out)
		}
		for _, verifier := range []auth.Verifier{discovered, inside} {
			if p, err := verifier.Verify(t.Context(), token); err != nil || p.Subject != "cli_1" || !p.Has(auth.Client) || p.Has(auth.Operator) {
				t.Errorf("got %+v, %v", p, err)
			}
		}
	}
	foreign, _ := development(t, "another")
	foreign.URL = i.URL
	token, _, err := foreign.Mint("cli_1", auth.Client)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := inside.Verify(t.Context(), token); err == nil {
		t.Error("a token of another key was accepted")
	}
}

func TestDevelopmentIssuerRefuses(t *testing.T) {
	i, _ := development(t, "one")
	secret, err := i.Enroll(t.Context(), "cli_1", auth.Client)
	if err != nil {
		t.Fatal(err)
	}
	renewed, err := i.Enroll(t.Context(), "cli_2", auth.Client)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := i.Enroll(t.Context(), "cli_2", auth.Client); err != nil {
		t.Fatal(err)
	}
	grant := func(more ...string) url.Values {
		form := url.Values{"grant_type": {"client_credentials"}}
		for n := 0; n < len(more); n += 2 {
			form.Set(more[n], more[n+1])
		}
		return form
	}
	for name, c := range map[string]struct {
		id, secret string
		form       url.Values
		status     int
		code       string
	}{
		"wrong secret":        {"cli_1", secret + "x", grant(), 401, "invalid_client"},
		"no secret":           {"cli_1", "", grant(), 401, "invalid_client"},
		"another's secret":    {"cli_2", secret, grant(), 401, "invalid_client"},
		"unknown client":      {"cli_3", secret, grant(), 401, "invalid_client"},
		"an older secret":     {"cli_2", renewed, grant(), 401, "invalid_client"},
		"a scope too much":    {"cli_1", secret, grant("scope", "aval:client aval:operator"), 400, "invalid_scope"},
		"another grant":       {"cli_1", secret, url.Values{"grant_type": {"password"}}, 400, "unsupported_grant_type"},
		"no grant":            {"cli_1", secret, url.Values{}, 400, "unsupported_grant_type"},
		"the scope it may":    {"cli_1", secret, grant("scope", "aval:client"), 200, ""},
		"a scope it has not":  {"cli_1", secret, grant("scope", "openid"), 400, "invalid_scope"},
		"a grant in the form": {"cli_1", secret, grant("scope", ""), 200, ""},
	} {
		status, out := ask(t, i, c.id, c.secret, c.form, true)
		if code, _ := out["error"].(string); status != c.status || code != c.code {
			t.Errorf("%s: got %d %v, want %d %s", name, status, out, c.status, c.code)
		}
	}
}

// TestSigningKeyFollowsFromItsSecret: two processes that know one secret take each other's tokens, whatever address each has; a
// process with another secret is a stranger to both.
func TestSigningKeyFollowsFromItsSecret(t *testing.T) {
	here, _ := development(t, "one")
	there, _ := development(t, "one")
	elsewhere, _ := development(t, "another")
	v, err := auth.New(auth.Config{Issuer: auth.AnyIssuer, Audience: "aval"}, here.Keys())
	if err != nil {
		t.Fatal(err)
	}
	all := auth.Issuers{auth.AnyIssuer: v}
	for _, i := range []*auth.Issuer{here, there, elsewhere} {
		token, _, err := i.Mint("cli_1", auth.Client)
		if err != nil {
			t.Fatal(err)
		}
		_, err = all.Verify(t.Context(), token)
		if i == elsewhere && !errors.Is(err, auth.ErrToken) || i != elsewhere && err != nil {
			t.Errorf("a token of %s: %v", i.URL, err)
		}
	}
}
