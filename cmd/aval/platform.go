package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/avalhq/aval/internal/action/controller"
	"github.com/avalhq/aval/internal/action/controlpoint"
	"github.com/avalhq/aval/internal/action/workflow"
	"github.com/avalhq/aval/internal/auth"
	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/chain/evm"
	"github.com/avalhq/aval/internal/chain/evm/devchain"
	"github.com/avalhq/aval/internal/clients"
	"github.com/avalhq/aval/internal/config"
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
	"github.com/avalhq/aval/internal/transaction"
	"github.com/avalhq/aval/internal/wallet"
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

// platform is what a process of Aval consists of, whatever its roles: on SQLite files or on a PostgreSQL database (see storage), with
// a development chain unless the configuration names a node. The parts are built from the bottom up, each in a file platform_….go;
// closers run in the opposite order. Which of them run is a matter of the roles (roles.go). The key-manager alone is something else.
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
	closers
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
		p.openFolder, p.openListener, p.openChain, p.openStorage, p.openCustody, p.openBus, p.openEngine, p.openReference, p.openServer,
	} {
		if err := open(ctx); err != nil {
			return p, err
		}
	}
	return p, nil
}

// closers give back what a process has opened.
type closers []func() error

func (c *closers) closing(closer func() error) { *c = append(*c, closer) }

// Close gives everything back, last opened first.
func (c *closers) Close() error {
	var errs []error
	for _, closer := range slices.Backward(*c) {
		errs = append(errs, closer())
	}
	*c = nil
	return errors.Join(errs...)
}

// listen takes the port that a field of the configuration names, before anything else is begun, so that a port in use is said at once.
func (c *closers) listen(field, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, problem.New(problem.Conflict, "port-in-use", "cannot listen on %s (%w); stop what listens there or set %s to another address", address, err, field)
	}
	c.closing(func() error { _ = l.Close(); return nil }) // closed already when it was served
	return l, nil
}

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
	p.tracer, err = telemetry.NewTracer(ctx, string(p.config.Telemetry.OTLPEndpoint), program)
	p.closing(func() error { return p.tracer.Close(context.WithoutCancel(ctx)) })
	return err
}

func (p *platform) openListener(context.Context) (err error) {
	p.listener, err = p.listen("api.listen", p.config.API.Listen)
	return err
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
