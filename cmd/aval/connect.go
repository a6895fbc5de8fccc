package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"

	"github.com/avalhq/aval/client"
)

// defaultProfile is where aval dev leaves it when nobody says otherwise.
const defaultProfile = "aval-data/dev-client.json"

// access says which Aval to speak to, and as whom. Secrets come from the environment or the profile, never from flags,
// which every process on the machine can read.
type access struct {
	URL      string `env:"AVAL_URL" group:"connect" help:"Address of the HTTP API. Without it: the profile's." placeholder:"URL"`
	Profile  string `default:"${profile}" env:"AVAL_PROFILE" group:"connect" help:"The file with address and credentials that aval dev has written. AVAL_CLIENT_ID with AVAL_CLIENT_SECRET, or AVAL_TOKEN, come before it." placeholder:"FILE"`
	Operator bool   `group:"connect" help:"Act as the profile's operator, who sees all clients' messages."`

	id, secret, token string
}

func (a *access) environment(get func(string) string) {
	a.id, a.secret, a.token = get("AVAL_CLIENT_ID"), get("AVAL_CLIENT_SECRET"), get("AVAL_TOKEN")
}

// credential is a login at the development issuer.
type credential struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
}

// profile is what aval dev leaves for the other commands on the same machine: its address, and a ready-made client whose
// signer key is the client's own, none of Aval's custody keys. For development only: it holds secrets in clear.
type profile struct {
	URL      string     `json:"url"`
	Client   credential `json:"client,omitzero"`
	Signer   signerKey  `json:"signer,omitzero"`
	Operator credential `json:"operator,omitzero"`
	Wallet   string     `json:"wallet,omitempty"`
}

// readProfile gives false when there is none.
func readProfile(path string) (profile, bool, error) {
	var p profile
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, false, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &p)
	}
	if err != nil {
		return p, false, misused("profile-unreadable", "cannot read the profile %s: %w; remove it, and aval dev writes a new one", path, err)
	}
	return p, true, nil
}

func (p profile) write(path string) error {
	raw, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	return writeDurably(path, append(raw, '\n')) // 0600, as all files that it makes
}

// asClient connects as the client, or as the operator where the caller asked for that.
func (a *access) asClient() (*client.Client, error) {
	if a.Operator {
		return a.asOperator()
	}
	return a.connect(func(p profile) credential { return p.Client })
}

// asOperator connects for what operators alone may do.
func (a *access) asOperator() (*client.Client, error) {
	return a.connect(func(p profile) credential { return p.Operator })
}

func (a *access) connect(pick func(profile) credential) (*client.Client, error) {
	p, there, err := readProfile(a.Profile)
	if err != nil && (a.URL == "" || a.token == "" && a.id == "") {
		return nil, err
	}
	url, login := a.URL, pick(p)
	if url == "" {
		url = p.URL
	}
	if url == "" {
		return nil, misused("url-missing", "there is no Aval to speak to: no profile at %s and no --url; start one with aval dev in this folder, or set AVAL_URL", a.Profile)
	}
	if a.id != "" {
		login = credential{a.id, a.secret}
	}
	if _, err := client.New(url); err != nil {
		return nil, misused("url-malformed", "%w", err)
	}
	switch {
	case a.token != "":
		return client.New(url, client.WithToken(a.token))
	case login.ID != "":
		return client.New(url, client.WithCredentials(login.ID, login.Secret))
	case there:
		return nil, misused("credentials-missing", "the profile %s has no credentials for this; set AVAL_CLIENT_ID and AVAL_CLIENT_SECRET, or AVAL_TOKEN", a.Profile)
	}
	return nil, misused("credentials-missing", "there are no credentials for %s; set AVAL_CLIENT_ID and AVAL_CLIENT_SECRET, or AVAL_TOKEN", url)
}

// defaults is the profile for what it can fill in: the signer key and the wallet; empty when there is none.
func (a *access) defaults() (profile, error) {
	p, _, err := readProfile(a.Profile)
	return p, err
}
