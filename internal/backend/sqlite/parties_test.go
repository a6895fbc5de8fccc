package sqlite

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/avalhq/aval/internal/auth"
	"github.com/avalhq/aval/internal/auth/authtest"
	"github.com/avalhq/aval/internal/clients"
	"github.com/avalhq/aval/internal/clients/clientstest"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/wallet/wallettest"
)

func TestWallets(t *testing.T) {
	wallettest.Run(t, func(t *testing.T) wallettest.Subject {
		return walletsAt(t, filepath.Join(t.TempDir(), "aval.db"))
	})
}

func walletsAt(t *testing.T, path string) wallettest.Subject {
	faults := fault.New()
	db, closeDB := openRecord(t, path, faults)
	return wallettest.Subject{Store: NewWallets(db), Faults: faults, Reopen: func(t *testing.T) wallettest.Subject {
		closeDB()
		return walletsAt(t, path)
	}}
}

func TestClients(t *testing.T) {
	clientstest.Run(t, func(t *testing.T) clientstest.Subject {
		return clientsAt(t, filepath.Join(t.TempDir(), "aval.db"))
	})
}

func clientsAt(t *testing.T, path string) clientstest.Subject {
	faults := fault.New()
	db, closeDB := openRecord(t, path, faults)
	return clientstest.Subject{Store: NewClients(db), Faults: faults, Reopen: func(t *testing.T) clientstest.Subject {
		closeDB()
		return clientsAt(t, path)
	}}
}

func TestClientsRememberSoManyAtMost(t *testing.T) {
	c := &Clients{cache: map[string]clients.Client{}}
	for i := range 3 * cachedClients {
		c.remember(clients.Client{ID: fmt.Sprint(i)}, 0)
		if len(c.cache) > cachedClients {
			t.Fatalf("%d clients are remembered", len(c.cache))
		}
	}
}

func TestClientsDoNotRememberWhatWasReadBeforeAChange(t *testing.T) {
	c := &Clients{cache: map[string]clients.Client{}}
	before := c.changes
	c.remember(clients.Client{ID: "a"}, before)
	c.forget("a")
	c.remember(clients.Client{ID: "a"}, before) // read before the change had ended
	if len(c.cache) != 0 {
		t.Error("an old client is remembered")
	}
	c.remember(clients.Client{ID: "a"}, c.changes)
	if len(c.cache) != 1 {
		t.Error("a new client is not remembered")
	}
}

func TestClientsOfOneFileShareTheirMemory(t *testing.T) {
	db, _ := openRecord(t, filepath.Join(t.TempDir(), "aval.db"), nil)
	one, other := NewClients(db), NewClients(db)
	if err := one.Put(t.Context(), clients.Client{ID: "cli_a"}); err != nil {
		t.Fatal(err)
	}
	if _, err := one.Get(t.Context(), "cli_a"); err != nil {
		t.Fatal(err)
	}
	if err := other.Put(t.Context(), clients.Client{ID: "cli_a", Disabled: true}); err != nil {
		t.Fatal(err)
	}
	if got, err := one.Get(t.Context(), "cli_a"); err != nil || !got.Disabled {
		t.Errorf("disabled through one, the client is still enabled for the other: %+v, %v", got, err)
	}
}

func TestSecrets(t *testing.T) {
	authtest.Run(t, func(t *testing.T) authtest.Subject { return secretsAt(t, filepath.Join(t.TempDir(), "aval.db")) })
}

func secretsAt(t *testing.T, path string) authtest.Subject {
	faults := fault.New()
	db, end := openRecord(t, path, faults)
	return authtest.Subject{Secrets: NewSecrets(db), Faults: faults, Reopen: func(t *testing.T) authtest.Subject {
		end()
		return secretsAt(t, path)
	}}
}

// TestI25SecretsAreNotInTheFile enrols a client as the issuer does and looks for the secret in the files.
func TestI25SecretsAreNotInTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "aval.db")
	db, closeDB := openRecord(t, path, nil)
	secret, err := auth.NewIssuer("http://localhost", "aval", auth.SigningKey{}, NewSecrets(db)).Enroll(t.Context(), "cli_a", "client")
	if err != nil || len(secret) < 32 {
		t.Fatalf("enrolled with a secret of %d characters: %v", len(secret), err)
	}
	for range 2 { // open, with its write-ahead log, and closed
		files, err := filepath.Glob(path + "*")
		if err != nil {
			t.Fatal(err)
		}
		seen := false
		for _, name := range files {
			content, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			seen = seen || bytes.Contains(content, []byte("cli_a"))
			if bytes.Contains(content, []byte(secret)) {
				t.Errorf("%s holds the secret", filepath.Base(name))
			}
		}
		if !seen {
			t.Error("the client is in none of the files, so the search proves nothing")
		}
		closeDB()
	}
}
