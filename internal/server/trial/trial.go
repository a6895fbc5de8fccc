// Package trial runs the real HTTP edge over a backend's stores, for tests of the server and of its clients.
//
// Services, read model, live hub, token issuer and signatures are the real ones. What stands in for the rest is small: one
// chain on which every address holds the same, keys that nobody can sign with, and instead of a controller the methods
// Step and Finish, by which a test moves a message itself and so knows what its followers have to see.
package trial

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/action/workflow"
	"github.com/avalhq/aval/internal/auth"
	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/clients"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/event"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/reference"
	"github.com/avalhq/aval/internal/server"
	"github.com/avalhq/aval/internal/tasktoken"
	"github.com/avalhq/aval/internal/transaction"
	"github.com/avalhq/aval/internal/typeid"
	"github.com/avalhq/aval/internal/wallet"
	"github.com/avalhq/aval/schemas"
)

// Chain is the one chain of a trial.
const Chain = "eip155:1337"

// Audience is what the trial's tokens are for.
const Audience = "aval"

// Stores are a backend's, all of them empty.
type Stores struct {
	Guarantee guarantee.Store
	Workflows guarantee.Definitions
	Calls     guarantee.Calls
	Source    reference.Source
	Outbox    event.Outbox
	Reference reference.Store
	Repairs   reference.Repairs
	Clients   clients.Store
	Secrets   auth.Secrets
	Wallets   wallet.Store
	Keys      key.Registry
	Trust     key.Trust // in the same keys
}

// Edge is a running server.
type Edge struct {
	URL    string
	Server *server.Server
	Issuer *auth.Issuer
	Stores
	Domain message.Domain
	Tokens *tasktoken.Maker
}

// Start serves on loopback until the test ends. adapt may change the configuration and services first; it may be nil.
func Start(tb testing.TB, stores Stores, adapt func(*server.Config, *server.Services)) *Edge {
	tb.Helper()
	e := &Edge{Stores: stores, Domain: message.Domain{Name: "Aval", Version: "1", ChainID: 1337}}
	if err := e.start(tb, adapt); err != nil {
		tb.Fatal(err)
	}
	return e
}

func (e *Edge) start(tb testing.TB, adapt func(*server.Config, *server.Services)) error {
	signing, err := auth.SigningKeyFrom([]byte("of a trial"))
	if err != nil {
		return err
	}
	h := httptest.NewUnstartedServer(nil)
	h.Listener, err = net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	e.URL = "http://" + h.Listener.Addr().String()
	e.Issuer = auth.NewIssuer(e.URL, Audience, signing, e.Secrets)
	tokens, err := auth.New(auth.Config{Issuer: e.URL, Audience: Audience}, e.Issuer.Keys())
	if err != nil {
		return err
	}
	services, err := e.services(tb)
	if err != nil {
		return err
	}
	services.Tokens = tokens
	config := server.Config{
		Log:    slog.New(slog.DiscardHandler),
		Chains: []server.Chain{{ID: Chain, Name: "trial", Confirmations: 1, Domain: e.Domain}},
	}
	if adapt != nil {
		adapt(&config, &services)
	}
	if e.Server, err = server.New(config, services); err != nil {
		return err
	}
	h.Config.Handler = e.Server
	h.Start()
	tb.Cleanup(func() { e.Server.Stop(); h.Close() })
	return nil
}

func (e *Edge) services(tb testing.TB) (server.Services, error) {
	catalog, err := message.NewCatalog(schemas.FS())
	if err != nil {
		return server.Services{}, err
	}
	library := workflow.New(e.Workflows, machine.Rules{Actions: func(string) (effect, known bool) { return false, true }})
	if err := library.Add(tb.Context(), "note.v1", []byte(`{"StartAt": "Done", "States": {"Done": {"Type": "Succeed"}}}`)); err != nil {
		return server.Services{}, err
	}
	hub := event.NewHub()
	run(tb, hub.Run)
	follower := &reference.Follower{Outbox: e.Outbox, Source: e.Source, Store: e.Reference, Repairs: e.Repairs, Hub: hub, Pace: time.Millisecond}
	run(tb, follower.Run)
	if e.Tokens, err = tasktoken.New(make([]byte, tasktoken.KeySize)); err != nil {
		return server.Services{}, err
	}
	front := &guarantee.Service{
		Store: e.Guarantee, Calls: e.Stores.Calls, Tokens: e.Tokens, Catalog: catalog, Clients: e.Clients, Workflows: begin{}, Now: time.Now, Expiry: time.Hour,
		Domain: func(name string) (message.Domain, error) {
			if name != Chain {
				return message.Domain{}, problem.New(problem.Invalid, "chain-unknown", "this installation does not serve that chain")
			}
			return e.Domain, nil
		},
	}
	read := &reference.Service{Source: e.Source, Store: e.Reference, Repairs: e.Repairs, Outbox: e.Outbox}
	return server.Services{
		Messages: front, Tasks: front, Queries: read, Mender: read, Outbox: e.Outbox, Live: hub, Clients: e.Clients, Credentials: e.Issuer,
		Wallets: wallet.NewService(e.Wallets, keyMaker{e.Keys}, map[string]wallet.Chain{Chain: {Network: rich{}}}, time.Now),
		Keys:    keys{e.Keys, e.Trust}, Transactions: none{}, Types: catalog, Workflows: library, Issuer: e.Issuer.Handler(),
		Why: func(ctx context.Context, id message.ID, _ bool) (guarantee.Why, error) {
			rec, history, err := e.Guarantee.Get(ctx, id)
			if err != nil {
				return guarantee.Why{}, err
			}
			why := guarantee.Explain(rec, history, time.Now())
			calls, err := e.Stores.Calls.Open(ctx, id)
			why.Awaits(calls)
			return why, err
		},
	}, nil
}

// run runs a service until the test ends.
func run(tb testing.TB, service func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- service(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			tb.Error(err)
		}
	})
}

// Operator gives a token with the operator's scope.
func (e *Edge) Operator(tb testing.TB) string {
	tb.Helper()
	token, _, err := e.Issuer.Mint("operator", auth.Operator)
	if err != nil {
		tb.Fatal(err)
	}
	return token
}

// Step commits one more entry to a message's history, as a controller would.
func (e *Edge) Step(ctx context.Context, id message.ID, state string, status guarantee.Status) error {
	rec, _, err := e.Guarantee.Get(ctx, id)
	if err != nil {
		return err
	}
	t := guarantee.Transition{
		ID: id, From: rec.Version, State: state, Status: status, Place: rec.Place, Ext: rec.Ext, Archive: status.Terminal(),
		Entries: []guarantee.Entry{{Version: rec.Version + 1, State: state, Event: "entered", By: "trial", At: time.Now()}},
	}
	if status == guarantee.Running {
		t.Due = time.Now()
	}
	refused, err := e.Guarantee.Commit(ctx, []guarantee.Transition{t})
	if err != nil {
		return err
	}
	return refused[0]
}

// Ask lets a message wait for an answer, and gives the task token.
func (e *Edge) Ask(ctx context.Context, id message.ID) (token string, err error) {
	rec, _, err := e.Guarantee.Get(ctx, id)
	if err != nil {
		return "", err
	}
	until := time.Now().Add(time.Hour)
	refused, err := e.Guarantee.Commit(ctx, []guarantee.Transition{{
		ID: id, From: rec.Version, State: "Ask", Status: guarantee.Waiting, Place: rec.Place, Ext: rec.Ext, Due: until, Awaits: true,
		Entries: []guarantee.Entry{{Version: rec.Version + 1, State: "Ask", Event: "entered", By: "trial", At: time.Now()}},
		Open:    []guarantee.Call{{Number: 1, State: "Ask", Until: until}},
	}})
	if err == nil {
		err = refused[0]
	}
	return e.Tokens.Make(tasktoken.Call{Message: id, State: "Ask", Number: 1}), err
}

// Finish takes a message through two states to its end.
func (e *Edge) Finish(ctx context.Context, id message.ID) error {
	if err := e.Step(ctx, id, "Record", guarantee.Running); err != nil {
		return err
	}
	return e.Step(ctx, id, "Done", guarantee.Succeeded)
}

// begin is where all messages of a trial begin.
type begin struct{}

func (begin) Begin(_ context.Context, messageType string, _ message.ID) (guarantee.Start, error) {
	return guarantee.Start{Ref: messageType + "@trial", State: "Validate", Place: []byte("{}")}, nil
}

func (begin) Again(_ context.Context, ref string, _ []byte, _ []guarantee.Part) (guarantee.Start, error) {
	return guarantee.Start{Ref: ref, State: "Validate", Place: []byte("{}")}, nil
}

func (begin) Restart(_ context.Context, ref string, place []byte, _ []guarantee.Part) (guarantee.Start, error) {
	return guarantee.Start{Ref: ref, Place: place}, nil
}

func (begin) Bars(context.Context, string, string, []byte, []guarantee.Part) (string, error) {
	return "", nil
}

// none is a desk where nothing was ever signed.
type none struct{}

func (none) List(context.Context, transaction.Query) ([]transaction.Report, error) { return nil, nil }

func (none) Show(context.Context, transaction.ID) (transaction.Report, error) {
	return transaction.Report{}, transaction.ErrUnknown
}

func (n none) Bump(ctx context.Context, id transaction.ID, _ *chain.Price, _, _ string) (transaction.Report, error) {
	return n.Show(ctx, id)
}

func (n none) Cancel(ctx context.Context, id transaction.ID, _ *chain.Price, _, _ string) (transaction.Report, error) {
	return n.Show(ctx, id)
}

func (n none) Resend(ctx context.Context, id transaction.ID, _ string) (transaction.Report, error) {
	return n.Show(ctx, id)
}

func (n none) Resolve(ctx context.Context, id transaction.ID, _ transaction.Verdict, _, _ string) (transaction.Report, error) {
	return n.Show(ctx, id)
}

// keyMaker registers keys that nobody holds.
type keyMaker struct{ registry key.Registry }

func (m keyMaker) CreateKey(ctx context.Context, chain, pool string) (key.Key, error) {
	id := typeid.New("key")
	k := key.Key{ID: id, Chain: chain, Pool: pool, Address: fmt.Sprintf("0x%040x", []byte(id)[len(id)-20:])}
	return k, m.registry.Add(ctx, k)
}

// keys releases with the nonce of a chain on which nothing was sent.
type keys struct {
	key.Registry
	trust key.Trust
}

func (k keys) Release(ctx context.Context, id string) error { return k.Reconcile(ctx, id, 0) }

func (k keys) Acknowledge(ctx context.Context, id string, spent uint64, by, why string) error {
	return k.trust.Acknowledge(ctx, id, spent, by, why)
}

func (k keys) Entries(ctx context.Context, id string) ([]key.Entry, error) {
	return k.trust.Entries(ctx, id)
}

// rich is a chain on which every address holds 1000 of everything. Nothing else of a chain is asked for.
type rich struct{ chain.Network }

func (rich) Account(context.Context, string) (chain.Account, error) {
	return chain.Account{Balance: big.NewInt(1000)}, nil
}
