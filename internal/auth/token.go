package auth

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/avalhq/aval/internal/problem"
)

// Handler serves discovery, keys and the token endpoint of the development issuer.
func (i *Issuer) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", i.discovery)
	mux.HandleFunc("GET /oauth/jwks.json", i.jwks)
	mux.HandleFunc("POST /oauth/token", i.token)
	return mux
}

func (i *Issuer) discovery(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{
		"issuer":                                i.URL,
		"jwks_uri":                              i.URL + "/oauth/jwks.json",
		"token_endpoint":                        i.URL + "/oauth/token",
		"grant_types_supported":                 []string{"client_credentials"},
		"scopes_supported":                      []string{Client, Operator},
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post"},
		"id_token_signing_alg_values_supported": []string{string(jose.ES256)},
		"response_types_supported":              []string{"token"},
		"subject_types_supported":               []string{"public"},
	})
}

func (i *Issuer) jwks(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{i.key.jwk().Public()}})
}

// token is the client-credentials grant of RFC 6749, section 4.4.
func (i *Issuer) token(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	if err := r.ParseForm(); err != nil {
		refused(w, http.StatusBadRequest, "invalid_request", "the body is not a form")
		return
	}
	if r.PostForm.Get("grant_type") != "client_credentials" {
		refused(w, http.StatusBadRequest, "unsupported_grant_type", "only client_credentials is served")
		return
	}
	client, secret, basic := r.BasicAuth()
	if !basic {
		client, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	known, err := i.Check(r.Context(), client, secret)
	switch {
	case err != nil && problem.KindOf(err) == problem.Unauthenticated:
		w.Header().Set("WWW-Authenticate", `Basic realm="aval"`)
		refused(w, http.StatusUnauthorized, "invalid_client", err.Error())
		return
	case err != nil:
		refused(w, http.StatusServiceUnavailable, "temporarily_unavailable", "the credentials cannot be read now; try again later")
		return
	}
	granted, ok := grant(known.Scopes, strings.Fields(r.PostForm.Get("scope")))
	if !ok {
		refused(w, http.StatusBadRequest, "invalid_scope", "the client may not have one of the scopes asked for")
		return
	}
	token, _, err := i.Mint(known.Client, granted...)
	if err != nil {
		refused(w, http.StatusInternalServerError, "server_error", "the token could not be signed")
		return
	}
	answer(w, http.StatusOK, map[string]any{
		"access_token": token, "token_type": "Bearer", "scope": strings.Join(granted, " "),
		"expires_in": int64(i.Lifetime.Seconds()),
	})
}

// grant gives what was asked for, everything when nothing was.
func grant(allowed, asked []string) ([]string, bool) {
	if len(asked) == 0 {
		return allowed, true
	}
	for _, scope := range asked {
		if !slices.Contains(allowed, scope) {
			return nil, false
		}
	}
	return asked, true
}

func refused(w http.ResponseWriter, status int, code, description string) {
	answer(w, status, map[string]string{"error": code, "error_description": description})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) //nolint:errchkjson // the asker has gone: nobody is left to tell
}
