//go:build cluster

package cluster

import (
	"cmp"
	"fmt"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/params"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/internal/backend/postgres/trial"
	"github.com/avalhq/aval/test/e2e/stage"
)

// crowd is several processes on one database and one chain, with clients that submit to all of them.
type crowd struct {
	t        *testing.T
	database trial.Database
	chain    *stage.Chain
	all      []*stage.Installation
	live     []*stage.Process
	operator *client.Client // of the first
	payers   []payer
	serving  int           // so many of the first processes have clients
	strays   bool          // who is not answered asks the next process, until one answers; otherwise the SDK's attempts have to do
	pause    time.Duration // between two messages of one client at one process

	mu     sync.Mutex
	number uint64
	sent   []*sent
}

// payer is a client with a wallet, logged in at each process.
type payer struct {
	at     []*stage.Party
	wallet client.Wallet
}

// place is where a crowd gathers.
type place struct {
	processes int
	attempts  int                               // of the SDK at one process
	payers    int                               // clients with a wallet each; 0 means 4
	admin     string                            // URL of the database server's administrator; "" takes the shared one
	way       func(i int, server string) string // by which process i reaches the server at host:port; nil: directly
	also      map[string]any                    // further configuration
	args      []string                          // of each aval serve
	before    func(*crowd)                      // what comes before the first start; may be nil
}

// gather starts the processes and makes clients with a filled wallet each.
func gather(t *testing.T, at place) *crowd {
	t.Helper()
	if at.admin == "" {
		at.admin = os.Getenv(trial.Variable)
	}
	database := &trial.Server{Given: at.admin}
	t.Cleanup(func() { // registered first, so it runs after the database that was made from it is gone
		if err := database.Close(); err != nil {
			t.Error(err)
		}
	})
	fresh := database.Fresh(t)
	u, section := fresh.Section(t)
	folder := t.TempDir()
	c := &crowd{t: t, database: fresh, chain: stage.NewChain(t, t.TempDir()), serving: at.processes, pause: 60 * time.Millisecond}
	for i := range at.processes {
		own := *u
		if at.way != nil {
			own.Host = at.way(i, u.Host)
		}
		section := maps.Clone(section)
		section["url"], section["connections"] = own.String(), 8
		fields := map[string]any{
			"data": filepath.Join(folder, fmt.Sprint("data-", i)), "custody": map[string]any{"key_file": filepath.Join(folder, "aval.kek")},
			"database": section,
			"chain":    map[string]any{"url": c.chain.Wire.URL, "id": c.chain.ChainID(), "poll": "100ms"},
		}
		for name, value := range at.also {
			fields[name] = value
		}
		c.all = append(c.all, stage.Install(t, program, fields))
		c.live = append(c.live, nil)
		if at.before != nil {
			at.before(c)
		}
		c.start(i, "", at.args...)
	}
	c.found(filepath.Join(folder, "data-0", "operator.json"), cmp.Or(at.payers, 4), at.attempts)
	return c
}

func (c *crowd) start(i int, faults string, args ...string) {
	c.t.Helper()
	p, err := c.all[i].Start(faults, args...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(p.Kill)
	select {
	case <-p.Ready:
	case <-p.Done:
		c.t.Fatal(p.Err())
	case <-time.After(patience):
		c.t.Fatalf("aval did not start: %s", p.Stderr())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.live[i] = p
}

// join starts one more process like another, with a role.
func (c *crowd) join(like *stage.Installation, role string) {
	c.t.Helper()
	c.all, c.live = append(c.all, like.Beside(c.t)), append(c.live, nil)
	c.start(len(c.all)-1, "", "--role", role)
}

// found makes the clients.
func (c *crowd) found(login string, payers, attempts int) {
	c.t.Helper()
	raw, err := os.ReadFile(login)
	if err == nil {
		err = os.MkdirAll(c.all[0].Data(""), 0o700)
	}
	if err == nil {
		err = os.WriteFile(c.all[0].Data("operator.json"), raw, 0o600)
	}
	if err == nil {
		c.operator, err = c.all[0].Operator()
	}
	for i := 0; i < payers && err == nil; i++ {
		err = c.enroll(fmt.Sprint("payer ", i), attempts)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// enroll makes a client that is logged in at every process.
func (c *crowd) enroll(name string, attempts int) error {
	ctx := c.t.Context()
	address, sign, err := stage.NewSigner()
	if err != nil {
		return err
	}
	first, err := stage.Enroll(ctx, c.operator, c.all[0].URL, name, address, sign, client.WithAttempts(attempts))
	if err != nil {
		return err
	}
	var p payer
	for _, in := range c.all[:c.serving] {
		party := *first
		if party.Client, err = client.New(in.URL, client.WithCredentials(first.ID, first.Secret), client.WithAttempts(attempts)); err != nil {
			return err
		}
		p.at = append(p.at, &party)
	}
	if p.wallet, err = first.CreateWallet(ctx, client.NewWallet{Name: "main"}); err != nil {
		return err
	}
	c.payers = append(c.payers, p)
	return c.chain.Pay(ctx, p.wallet.Address, new(big.Int).Mul(big.NewInt(1000), big.NewInt(params.Ether)))
}
