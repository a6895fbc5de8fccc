package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/avalhq/aval/internal/action/controller"
	"github.com/avalhq/aval/internal/action/controlpoint"
	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/internal/action/workflow"
	"github.com/avalhq/aval/internal/auth"
	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/chain/evm"
	"github.com/avalhq/aval/internal/chain/evm/devchain"
	"github.com/avalhq/aval/internal/clients"
	"github.com/avalhq/aval/internal/config"
	"github.com/avalhq/aval/internal/custody/policy"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/event"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/leader"
	"github.com/avalhq/aval/internal/lifecycle"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/message/calldata"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/reference"
	"github.com/avalhq/aval/internal/server"
	"github.com/avalhq/aval/internal/tasktoken"
	"github.com/avalhq/aval/internal/telemetry"
	"github.com/avalhq/aval/internal/telemetry/health"
	"github.com/avalhq/aval/internal/transaction"
	"github.com/avalhq/aval/internal/wallet"
	"github.com/avalhq/aval/schemas"
	"github.com/avalhq/aval/workflows"
)

// options are what a platform is given besides its configuration.
type options struct {
	roles      []role // what this process does; none: everything
	passphrase []byte // of the sealed keys, when the configuration names no key file
	faults     *fault.Points
	log        *slog.Logger
	ended      func(*guarantee.Record)            // called when a message has reached its end; may be nil
	parked     func(message.ID)                   // called when a message was parked; may be nil
	acted      func(id message.ID, action string) // called when an action has succeeded; may be nil
}

// platform is the whole of Aval in one process, all roles: on SQLite files or on a PostgreSQL database (see storage), with a
// development chain unless the configuration names a node. The parts are built from the bottom up; closers run in the opposite order.
type platform struct {
	config    config.Config
	options   options
	log       *slog.Logger
	metrics   *telemetry.Metrics
	tracer    *telemetry.Tracer
	install   installation
	chainID   string // CAIP-2
	dev       *devchain.Chain
	network   *evm.Network
	fees      chain.FeePolicies
	bound     map[string]calldata.Contract
	storage   storage
	seat      *leader.Seat // the process that has it does what is done once
	points    []*controlpoint.Point
	catalog   *message.Catalog
	clients   *clients.Service
	signer    *signer.Signer
	signerFor func(worker string, wait time.Duration) *signer.Signer // another one, with the same keys
	tasks     *tasktoken.Maker
	keeper    *transaction.Keeper
	wallets   *wallet.Service
	library   *workflow.Library
	messages  *guarantee.Service
	control   *controller.Controller
	hub       *event.Hub
	queries   *reference.Service
	follower  *reference.Follower
	issuerKey auth.SigningKey
	issuer    *auth.Issuer // nil without the development issuer
	server    *server.Server
	listener  net.Listener
	closers   []func() error
}

// openPlatform builds everything and starts nothing but the development chain. What can be refused is refused here.
func openPlatform(ctx context.Context, cfg config.Config, o options) (p *platform, err error) {
	p = &platform{config: cfg, options: o, log: o.log, metrics: telemetry.NewMetrics(), hub: event.NewHub()}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()
	for _, open := range []func(context.Context) error{
		p.openFolder, p.openListener, p.openStorage, p.openChain, p.openCustody, p.openBus, p.openEngine, p.openReference, p.openServer,
	} {
		if err := open(ctx); err != nil {
			return p, err
		}
	}
	return p, nil
}

// Close gives everything back, last opened first.
func (p *platform) Close() error {
	var errs []error
	for i := len(p.closers) - 1; i >= 0; i-- {
		errs = append(errs, p.closers[i]())
	}
	p.closers = nil
	return errors.Join(errs...)
}

func (p *platform) closing(closer func() error) { p.closers = append(p.closers, closer) }

// path is a file or folder of the data folder.
func (p *platform) path(name string) string { return filepath.Join(p.config.Data, name) }

func (p *platform) openFolder(ctx context.Context) (err error) {
	if err := os.MkdirAll(p.config.Data, 0o700); err != nil {
		return problem.New(problem.Unavailable, "storage-unwritable", "cannot make the data folder %s: %w", p.config.Data, err)
	}
	if err := checkRestored(p.config.Data); err != nil {
		return err
	}
	p.chainID = "eip155:" + strconv.FormatUint(p.config.Chain.ID, 10)
	if p.config.Database.URL != "" {
		p.install = freshInstallation(p.config.Chain.ID) // until the database says what it is
	} else if p.install, err = openInstallation(p.config.Data, p.config.Chain.ID); err != nil {
		return err
	}
	p.tracer, err = telemetry.NewTracer(ctx, string(p.config.Telemetry.OTLPEndpoint), embeddedProcess)
	p.closing(func() error { return p.tracer.Close(context.WithoutCancel(ctx)) })
	return err
}

// openListener takes the API's port before anything else is begun, so that a port in use is said at once.
func (p *platform) openListener(context.Context) (err error) {
	if p.listener, err = net.Listen("tcp", p.config.API.Listen); err != nil {
		return problem.New(problem.Conflict, "port-in-use", "cannot listen on %s (%w); stop what listens there or set api.listen to another address", p.config.API.Listen, err)
	}
	p.closing(func() error { _ = p.listener.Close(); return nil }) // closed already when it was served
	return nil
}

func (p *platform) openChain(ctx context.Context) (err error) {
	c, urls := p.config.Chain, p.config.Chain.URL.Strings()
	if len(urls) == 0 {
		if err := p.openDevChain(ctx); err != nil {
			return err
		}
		urls = []string{p.dev.URL()}
	}
	fees := c.Fees
	minTip, err := fees.MinTip.Wei()
	if err != nil {
		return err
	}
	known, err := readABIs(p.config.Chain.ABIs)
	if err != nil {
		return err
	}
	p.bound = known.bound
	p.network, err = evm.Dial(ctx, evm.Config{
		URLs: urls, ChainID: c.ID, Quorum: c.Quorum, MaxLag: c.MaxLag, Timeout: c.Timeout, Observe: p.metrics.EndpointCall, GasMargin: fees.GasMargin,
		Poll: p.heads(), FeeKind: evm.FeeKind(fees.Kind), FeeBlocks: fees.Blocks, Headroom: fees.Headroom, MinTip: minTip, Errors: known.errors,
	})
	if err != nil {
		return err
	}
	p.closing(func() error { p.network.Close(); return nil })
	if p.fees, err = feePolicies(p.config.Chain); err != nil {
		return err
	}
	genesis, err := p.network.Genesis(ctx)
	if err != nil {
		return err
	}
	if p.config.Database.URL != "" {
		p.install.Genesis = genesis
		return nil
	}
	return p.install.meet(p.config.Data, genesis)
}

func (p *platform) openDevChain(ctx context.Context) (err error) {
	c := p.config.Chain
	p.dev, err = devchain.Start(ctx, devchain.Config{
		Folder: p.path("chain"), ChainID: c.ID, Port: c.Dev.Port, BlockTime: c.Dev.BlockTime, Trail: max(12, int(c.Confirmations)),
	})
	if err != nil {
		return err
	}
	p.closing(p.dev.Close)
	return nil
}

func (p *platform) openStorage(ctx context.Context) (err error) {
	if p.storage, err = openStorage(ctx, p.config, p.options.faults); err != nil {
		return err
	}
	p.closing(p.storage.close)
	if p.storage.elections != nil {
		p.seat = leader.New(p.storage.elections, "watcher", p.log)
	}
	p.clients = clients.NewService(p.storage.clients, time.Now)
	return nil
}

func (p *platform) openCustody(ctx context.Context) error {
	store, err := p.openKeystore(ctx)
	if err != nil {
		return err
	}
	secret, err := store.Secret(ctx, "task-tokens")
	if err != nil {
		return err
	}
	if p.tasks, err = tasktoken.New(secret); err != nil {
		return err
	}
	codec := func(id string) (chain.Codec, error) {
		ch, err := p.chains().Get(id)
		return ch.Codec, err
	}
	account := func(ctx context.Context, _, address string) (chain.Account, error) {
		return p.network.Account(ctx, address)
	}
	p.signerFor = func(worker string, wait time.Duration) *signer.Signer {
		return signer.New(p.storage.keys, p.storage.decisions, store, codec, account, signer.Options{Holder: p.storage.holder + "/" + worker, Wait: wait, Faults: p.options.faults, Log: p.log})
	}
	p.signer = p.signerFor("sign", 0)
	p.wallets = wallet.NewService(p.storage.wallets, p.signer, map[string]wallet.Chain{p.chainID: {Network: p.network, Codec: p.network.Codec()}}, time.Now)
	p.keeper = p.newKeeper()
	return p.signer.Recover(ctx, p.storage.holder)
}

func (p *platform) chains() step.Chains {
	return step.Chains{p.chainID: {Network: p.metrics.Network(p.network), Codec: p.network.Codec(), Replayer: p.network, Fees: p.fees, Lanes: p.keeper, Bound: p.bound}}
}

func (p *platform) openEngine(ctx context.Context) (err error) {
	if p.catalog, err = message.NewCatalog(schemas.FS()); err != nil {
		return err
	}
	for name := range p.fees.Types {
		if !slices.Contains(p.catalog.Types(), name) {
			return problem.New(problem.Invalid, "config-invalid", "chain.fees.types names %q, and there is no such message type; there are %s", name, strings.Join(p.catalog.Types(), ", "))
		}
	}
	rules, err := p.policy()
	if err != nil {
		return err
	}
	if p.points, err = controlPoints(p.config.ControlPoints, p.pointOptions()); err != nil {
		return err
	}
	registry, err := step.NewRegistry(append(p.actions(rules), pointActions(p.points)...)...)
	if err != nil {
		return err
	}
	p.library = workflow.New(p.storage.record, workflowRules(registry, p.catalog))
	if err := p.loadWorkflows(ctx); err != nil {
		return err
	}
	p.messages = &guarantee.Service{
		Store: p.storage.record, Calls: p.storage.record, Tokens: p.tasks, Catalog: p.catalog, Domain: p.domain, Clients: p.clients, Workflows: p.library, Now: time.Now, Expiry: p.config.Messages.IDExpiry,
	}
	p.control = controller.New(p.storage.record, p.storage.feeder, p.library, registry, controller.Config{
		Calls: p.storage.record, Tokens: p.tasks,
		Name: p.storage.process, InFlight: p.config.Controller.InFlight, Turns: p.config.Controller.Loops, Faults: p.options.faults, Log: p.log, Observe: p.observer(),
	})
	return nil
}

func (p *platform) policy() (*policy.Policy, error) {
	if p.config.Policy == "" {
		return policy.Default()
	}
	raw, err := os.ReadFile(p.config.Policy)
	if err != nil {
		return nil, problem.New(problem.Invalid, "policy-unreadable", "cannot read the policy: %w; check the field policy", err)
	}
	return policy.Load(raw, p.config.Policy)
}

func (p *platform) actions(rules *policy.Policy) []step.Action {
	chains, gate := p.chains(), step.NewGate(rules, p.clients, p.wallets, time.Now)
	return shippedActions(p.wallets, gate, p.signs(), chains)
}

// shippedActions are the actions of this program. Whoever asks for their names alone leaves out what they work on.
func shippedActions(wallets step.Wallets, gate *step.Gate, keys step.Signer, chains step.Chains) []step.Action {
	return []step.Action{
		step.Validate(wallets, chains), step.Authorize(gate, keys), step.Sign(gate, keys, chains), step.Send(chains),
		step.Confirm(chains), step.Record(), step.Archive(), step.Park(),
	}
}

func (p *platform) loadWorkflows(ctx context.Context) error {
	files := fs.FS(workflows.FS())
	if p.config.Workflows != "" {
		files = os.DirFS(p.config.Workflows)
	}
	warnings, err := p.library.LoadAll(ctx, files)
	for _, warning := range warnings {
		p.log.WarnContext(ctx, "a workflow could be better", "warning", warning)
	}
	return err
}

func (p *platform) domain(chainID string) (message.Domain, error) {
	if chainID != p.chainID {
		return message.Domain{}, problem.New(problem.Invalid, "chain-unknown", "this installation serves %s only", p.chainID)
	}
	return p.install.domain(), nil
}

func (p *platform) openReference(context.Context) error {
	source, mirror := p.storage.record, p.storage.mirror
	p.queries = &reference.Service{Source: source, Store: mirror, Repairs: mirror, Outbox: p.storage.outbox}
	p.follower = &reference.Follower{
		Outbox: p.storage.outbox, Source: source, Store: mirror, Repairs: mirror, Hub: p.hub, Log: p.log, KeepFor: p.storage.keep, Seat: p.seat,
		Observe: func(lag reference.Lag) { p.metrics.ReferenceLag(lag.Age) },
	}
	return nil
}

// Run serves until ctx ends, then stops in the opposite order: first the API, last what it relies on.
func (p *platform) Run(ctx context.Context) error {
	var group lifecycle.Group
	p.services(&group)
	return group.Run(ctx)
}

func (p *platform) gauge(ctx context.Context) {
	p.metrics.InFlight(p.control.InHand())
	for _, e := range p.network.Health() {
		p.metrics.Endpoint(e.Endpoint, e.Up, e.Lag)
	}
	if depth, err := p.storage.feeder.Depth(ctx); err == nil {
		p.metrics.Feeder(depth.Due, depth.Oldest, time.Now())
	}
	if p.storage.parked == nil {
		return
	}
	if n, err := p.storage.parked.Count(ctx); err == nil {
		p.metrics.RecordsParked(n)
	}
}

func (p *platform) observer() controller.Observer {
	return controller.Observer{
		Step: func(id message.ID, state, action, outcome string, begun time.Time, took time.Duration) {
			p.metrics.Step(action, outcome, took)
			if p.options.acted != nil && outcome == "succeeded" {
				p.options.acted(id, action)
			}
			failure := outcome
			if outcome == "succeeded" || outcome == "later" {
				failure = ""
			}
			p.tracer.Past(id, state+" "+action, begun, took, failure)
		},
		Committed: p.metrics.Commit,
		Parked: func(id message.ID, _ string) {
			p.metrics.Parked()
			if p.options.parked != nil {
				p.options.parked(id)
			}
		},
		Ended: p.options.ended,
	}
}

// url is the address of the API.
func (p *platform) url() string { return fmt.Sprintf("http://%s", p.listener.Addr()) }

func (p *platform) openServer(context.Context) error {
	tokens, issuer, err := p.tokens()
	if err != nil {
		return err
	}
	checks := p.health()
	services := server.Services{
		Messages: p.messages, Tasks: p.messages, Why: p.why, Queries: p.queries, Outbox: p.storage.outbox, Live: p.hub, Clients: p.storage.clients,
		Mender:  p.queries,
		Wallets: p.wallets, Keys: releaser{p}, Transactions: p.desk(), Types: p.catalog, Workflows: p.library, Tokens: tokens, Alive: health.Handler(checks.Liveness), Ready: health.Handler(checks.Readiness), Metrics: p.metrics.Handler(),
	}
	if issuer != nil {
		services.Credentials, services.Issuer = issuer, issuer.Handler()
	}
	p.server, err = server.New(server.Config{
		Unserved: !p.has(roleAPI),
		Version:  version(), Chains: p.served(), MaxBody: p.config.API.MaxBody, MaxIDs: p.config.API.MaxIDs, MaxStreams: p.config.API.MaxStreams, MaxClientStreams: p.config.API.MaxClientStreams,
		Timeout: p.config.API.Timeout, Log: p.log, Observe: p.metrics.Request,
	}, services)
	return err
}

func (p *platform) served() []server.Chain {
	ch := server.Chain{ID: p.chainID, Name: "chain " + strconv.FormatUint(p.config.Chain.ID, 10), Confirmations: p.config.Chain.Confirmations, Domain: p.install.domain()}
	if p.dev != nil {
		ch.Name, ch.RPC = "development chain", p.dev.URL()
	}
	return []server.Chain{ch}
}

// tokens verifies bearer tokens of the configured issuer and of the built-in one.
func (p *platform) tokens() (auth.Verifier, *auth.Issuer, error) {
	issuers := auth.Issuers{}
	if p.config.Auth.DevIssuer {
		var err error
		p.issuer = auth.NewIssuer(p.url(), p.config.Auth.Audience, p.issuerKey, p.storage.secrets)
		if issuers[auth.AnyIssuer], err = auth.New(auth.Config{Issuer: auth.AnyIssuer, Audience: p.config.Auth.Audience}, p.issuer.Keys()); err != nil {
			return nil, nil, err
		}
	}
	if outside := p.config.Auth.Issuer; outside != "" {
		verifier, err := auth.New(auth.Config{Issuer: outside, Audience: p.config.Auth.Audience, Subject: p.config.Auth.Subject}, auth.Discover(outside, http.DefaultClient))
		if err != nil {
			return nil, nil, err
		}
		issuers[outside] = verifier
	}
	return issuers, p.issuer, nil
}

// health asks what the process depends on; the answers are kept for a second.
func (p *platform) health() *health.Checks {
	checks := health.New(time.Second, 5*time.Second)
	checks.Ready("storage", func(ctx context.Context) error {
		_, err := p.storage.feeder.Depth(ctx)
		return err
	})
	checks.Ready("chain", func(ctx context.Context) error {
		_, err := p.network.Head(ctx)
		return err
	})
	for name, check := range p.storage.ready {
		checks.Ready(name, check)
	}
	checks.Note("control points", p.breakerNote)
	if len(p.config.Chain.URL) > 1 {
		for i, e := range p.network.Health() {
			checks.Note("chain endpoint "+e.Endpoint, func() string { return p.network.Health()[i].Wrong() })
		}
	}
	return checks
}
