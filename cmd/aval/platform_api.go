package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/avalhq/aval/internal/auth"
	"github.com/avalhq/aval/internal/server"
	"github.com/avalhq/aval/internal/telemetry/health"
)

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

// url is the address of the API.
func (p *platform) url() string { return fmt.Sprintf("http://%s", p.listener.Addr()) }

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
