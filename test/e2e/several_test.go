//go:build cluster

package e2e

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/internal/backend/postgres/trial"
	"github.com/avalhq/aval/test/e2e/stage"
)

// crowd is several processes on one database and one chain, with clients that submit to all of them.
type crowd struct {
	t        *testing.T
	chain    *stage.Chain
	all      []*stage.Installation
	live     []*stage.Process
	operator *client.Client // of the first
	payers   []payer
	strays   bool // who finds a process dead goes to the next one

	mu       sync.Mutex
	number   uint64
	sent     map[common.Address]string // whom each transfer pays, and its message
	notes    int
	answered []time.Time
	took     []time.Duration
	failed   []error
}

// payer is a client with a wallet, logged in at each process.
type payer struct {
	at     []*stage.Party
	wallet client.Wallet
}

// gather starts n processes, with what else the configuration says; attempts is how often the SDK tries one of them.
func gather(t *testing.T, n, attempts int, also ...map[string]any) *crowd {
	t.Helper()
	database := &trial.Server{Given: os.Getenv(trial.Variable)}
	t.Cleanup(func() { // registered first, so it runs after the database that was made from it is gone
		if err := database.Close(); err != nil {
			t.Error(err)
		}
	})
	fresh := database.Fresh(t)
	u, err := url.Parse(fresh.URL)
	if err != nil {
		t.Fatal(err)
	}
	secret, _ := u.User.Password()
	folder := t.TempDir()
	password := filepath.Join(folder, "password")
	if err := os.WriteFile(password, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	u.User = url.User(u.User.Username())
	c := &crowd{t: t, chain: stage.NewChain(t, t.TempDir()), sent: map[common.Address]string{}}
	for i := range n {
		configuration := map[string]any{
			"data": filepath.Join(folder, fmt.Sprint("data-", i)), "custody": map[string]any{"key_file": filepath.Join(folder, "aval.kek")},
			"database": map[string]any{"url": u.String(), "password": "file:" + password, "connections": 8},
			"chain":    map[string]any{"url": c.chain.Wire.URL, "id": c.chain.ChainID(), "poll": "100ms"},
		}
		for _, part := range also {
			maps.Copy(configuration, part)
		}
		c.all = append(c.all, stage.Install(t, program, configuration))
		c.live = append(c.live, nil)
		c.start(i, "")
	}
	c.found(filepath.Join(folder, "data-0", "operator.json"), attempts)
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

// found makes four clients with a filled wallet each.
func (c *crowd) found(login string, attempts int) {
	c.t.Helper()
	ctx := c.t.Context()
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
	for i := 0; i < 4 && err == nil; i++ {
		var p payer
		var address string
		var sign client.Signer
		if address, sign, err = stage.NewSigner(); err != nil {
			break
		}
		var first *stage.Party
		if first, err = stage.Enroll(ctx, c.operator, c.all[0].URL, fmt.Sprint("payer ", i), address, sign, client.WithAttempts(attempts)); err != nil {
			break
		}
		for _, in := range c.all {
			party := *first
			party.Client, err = client.New(in.URL, client.WithCredentials(first.ID, first.Secret), client.WithAttempts(attempts))
			if err != nil {
				c.t.Fatal(err)
			}
			p.at = append(p.at, &party)
		}
		if p.wallet, err = first.CreateWallet(ctx, client.NewWallet{Name: "main"}); err == nil {
			err = c.chain.Pay(ctx, p.wallet.Address, new(big.Int).Mul(big.NewInt(1000), big.NewInt(params.Ether)))
		}
		c.payers = append(c.payers, p)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// load submits from every payer to every process until the func given is called.
func (c *crowd) load() (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.t.Context()))
	var all sync.WaitGroup
	for i := range c.payers {
		for at := range c.payers[i].at {
			all.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					c.submit(c.payers[i], at, n%2 == 0)
					time.Sleep(60 * time.Millisecond) // the load, not a wait
				}
			})
		}
	}
	return func() { cancel(); all.Wait() }
}

// submit hands over one message and sees it through to its answer: at its process, or at the next one when that is dead.
func (c *crowd) submit(p payer, at int, pays bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.t.Context()), patience)
	defer cancel()
	c.mu.Lock()
	c.number++
	tag := crypto.Keccak256(binary.BigEndian.AppendUint64([]byte("several"), c.number))
	number := c.number
	c.mu.Unlock()
	to := common.BytesToAddress(tag)
	began := time.Now()
	var id string
	var raw []byte
	var err error
	for tries := range p.at {
		party := p.at[(at+tries)%len(p.at)]
		err = nil
		if raw == nil {
			id, raw, err = compose(ctx, party, p.wallet, to, number, pays)
		}
		if err == nil {
			_, err = party.Submit(ctx, id, raw)
		}
		if err == nil || !c.strays || !stage.Gone(err) {
			break
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
		c.failed = append(c.failed, fmt.Errorf("message %d to process %d: %w", number, at, err))
		return
	case pays:
		c.sent[to] = id
	default:
		c.notes++
	}
	c.answered, c.took = append(c.answered, time.Now()), append(c.took, time.Since(began))
}

func compose(ctx context.Context, p *stage.Party, w client.Wallet, to common.Address, number uint64, pays bool) (id string, raw []byte, err error) {
	ids, err := p.IssueIDs(ctx, 1)
	if err != nil {
		return "", nil, err
	}
	m := client.Message{
		ID: ids.IDs[0].ID, Type: "note.v1", Client: ids.Client, Chain: ids.Domains[0].Chain, Expires: ids.IDs[0].Expires,
		Body: map[string]string{"text": strconv.FormatUint(number, 10), "reference": "several"},
	}
	if pays {
		m.Type, m.Body = "transfer.v1", client.Transfer{Wallet: w.ID, To: to.Hex(), Asset: "native", Amount: strconv.FormatUint(1000+number, 10)}
	}
	raw, err = p.Client.Sign(m, ids, p.Sign)
	return m.ID, raw, err
}

// settle waits until every message has ended (I18); what is parked fails the test.
func (c *crowd) settle() {
	c.t.Helper()
	began := time.Now()
	for {
		counts, err := c.operator.Counts(c.t.Context())
		if err != nil {
			c.t.Fatal(err)
		}
		open, ended := 0, 0
		for _, n := range counts {
			switch {
			case n.Status == client.Succeeded:
				ended += int(n.Number)
			default:
				open += int(n.Number)
			}
		}
		if open == 0 && ended >= len(c.sent)+c.notes {
			c.t.Logf("%d messages had ended %v after the load", ended, time.Since(began).Round(time.Millisecond))
			return
		}
		if time.Since(began) > time.Minute {
			c.t.Fatalf("a minute after the load: %+v (I18); %s", counts, c.live[0].Stderr())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// check asks the chain: each transfer that was accepted was paid once, and nothing else was.
func (c *crowd) check() {
	c.t.Helper()
	for _, err := range c.failed {
		c.t.Errorf("lost: %v", err)
	}
	paid := map[common.Address]int{}
	from := map[common.Address]bool{}
	for _, p := range c.payers {
		from[common.HexToAddress(p.wallet.Address)] = true
	}
	err := c.chain.Walk(c.t.Context(), func(_ uint64, tx *types.Transaction, sender common.Address) error {
		if from[sender] {
			paid[*tx.To()]++
		}
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	for to, id := range c.sent {
		if paid[to] != 1 {
			c.t.Errorf("message %s was paid %d times (I5)", id, paid[to])
		}
		delete(paid, to)
	}
	for to, n := range paid {
		if !from[to] {
			c.t.Errorf("%s was paid %d times, and nobody asked for it", to, n)
		}
	}
	keys, err := c.operator.Keys(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	for _, k := range keys {
		if k.Status != "free" {
			c.t.Errorf("the key %s is %s: %s (I10)", k.ID, k.Status, k.Reason)
		}
	}
}

// pace tells the longest time without an accepted submission, and how long submissions took.
func (c *crowd) pace(what string, longest time.Duration) {
	c.t.Helper()
	slices.SortFunc(c.answered, time.Time.Compare)
	slices.Sort(c.took)
	var gap time.Duration
	for i := 1; i < len(c.answered); i++ {
		gap = max(gap, c.answered[i].Sub(c.answered[i-1]))
	}
	c.t.Logf("%s: %d submissions, %d of them transfers; longest gap %v; p50 %v, p99 %v, longest %v", what, len(c.took), len(c.sent), gap.Round(time.Millisecond),
		c.took[len(c.took)/2].Round(time.Millisecond), c.took[len(c.took)*99/100].Round(time.Millisecond), c.took[len(c.took)-1].Round(time.Millisecond))
	if gap > longest {
		c.t.Errorf("%s: for %v nothing was accepted", what, gap)
	}
}

// TestSeveralProcessesOneKilled: three processes on one database. One is killed while it holds a key, between deciding and
// signing, another at a moment of chance; the third and a new one take their messages.
func TestSeveralProcessesOneKilled(t *testing.T) {
	c := gather(t, 3, 2)
	c.strays = true
	if err := c.live[1].Stop(); err != nil {
		t.Fatal(err)
	}
	c.start(1, "decisions.decide.after=kill@10")
	stop := c.load()
	select {
	case <-c.live[1].Done:
	case <-time.After(patience):
		t.Fatal("the process was not killed")
	}
	time.Sleep(2 * time.Second) // the load goes on
	c.live[2].Kill()
	time.Sleep(2 * time.Second)
	stop()
	c.settle()
	c.check()
	c.pace("two of three killed", 5*time.Second)
}

// TestSeveralProcessesRollingRestart: every process is stopped and started again under load. No submission fails, with the SDK's
// retries alone, and no message.
func TestSeveralProcessesRollingRestart(t *testing.T) {
	c := gather(t, 3, 10)
	stop := c.load()
	for i := range c.all {
		time.Sleep(time.Second) // the load goes on
		began := time.Now()
		if err := c.live[i].Stop(); err != nil {
			t.Error(err)
		}
		stopped := time.Since(began)
		c.start(i, "")
		t.Logf("process %d stopped in %v and was back after %v", i, stopped.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	}
	time.Sleep(time.Second)
	stop()
	c.settle()
	c.check()
	c.pace("rolling restart", 5*time.Second)
}

// TestSeveralProcessesOfOneRoleEach: one serves the API, one drives messages, one watches, and a second of each of the last two
// stands by. A watcher is killed, then a controller.
func TestSeveralProcessesOfOneRoleEach(t *testing.T) {
	c := gather(t, 1, 10)
	roles := []string{"api", "controller", "controller", "watcher", "watcher"}
	for _, r := range roles[1:] {
		c.join(c.all[0], r)
	}
	if err := c.live[0].Stop(); err != nil {
		t.Fatal(err)
	}
	c.start(0, "", "--role", "api")
	for i, in := range c.all {
		for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/metrics": 200, "/openapi.json": 404} {
			if i == 0 && path == "/openapi.json" {
				want = 200
			}
			if got := (&stage.Party{URL: in.URL}).Do(t, "GET", path, "none", nil).Status; got != want {
				t.Errorf("%s of the role %s: %d, want %d", path, roles[i], got, want)
			}
		}
	}
	stop := c.load()
	time.Sleep(time.Second) // the load goes on
	c.live[3].Kill()
	time.Sleep(time.Second)
	c.live[1].Kill()
	time.Sleep(time.Second)
	stop()
	c.settle()
	c.check()
	c.pace("one role each", 5*time.Second)
	for _, i := range []int{0, 2, 4} {
		if err := c.live[i].Stop(); err != nil {
			t.Errorf("%s: %v", roles[i], err)
		}
	}
}

// join starts one more process like another, with a role.
func (c *crowd) join(like *stage.Installation, role string) {
	c.t.Helper()
	c.all, c.live = append(c.all, like.Beside(c.t)), append(c.live, nil)
	c.start(len(c.all)-1, "", "--role", role)
}
