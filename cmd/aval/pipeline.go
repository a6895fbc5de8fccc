package main

import (
	"context"
	"time"

	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/internal/bus"
	"github.com/avalhq/aval/internal/config"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/custody/verify"
	"github.com/avalhq/aval/internal/leader"
	"github.com/avalhq/aval/internal/lifecycle"
	"github.com/avalhq/aval/internal/relay"
	"github.com/avalhq/aval/internal/telemetry"
)

// pipeline is the ports of what several roles do together over the bus. SQLite, with one process, has none of them.
type pipeline struct {
	bus      bus.Bus
	parked   bus.Parked
	requests signer.Requests
	cursors  relay.Cursors
	verdicts verify.Verdicts
}

const (
	// leaseWait is how long a signing worker waits for a key that another one has, before it leaves the request for later. It is longer
	// than it takes until a holder that was killed is noticed, over etcd.
	leaseWait = 10 * time.Second
	// leaselessPause is the longest pause of a signing worker between two looks for a registry of keys that is away.
	leaselessPause = time.Second
)

// pipelined says whether transactions are signed by signing workers.
func (p *platform) pipelined() bool { return p.config.Signing.By == config.SignedByWorkers }

// signs is what the sign action has transactions signed by.
func (p *platform) signs() step.Signer {
	if p.pipelined() {
		return &signer.Pipeline{Decisions: p.storage.decisions, Requests: p.storage.requests}
	}
	return p.signer
}

// pipelineServices are those of the roles that work over the bus.
func (p *platform) pipelineServices(group *lifecycle.Group) {
	if p.has(roleRelay) && (p.pipelined() || p.config.Signing.Events || p.overKafka()) {
		seat := leader.New(p.storage.elections, "relay", p.log)
		group.Add("relay seat", seat.Run)
		group.Add("relay", p.relay(seat).Run)
		group.Add("bus gauges", func(ctx context.Context) error { return telemetry.Every(ctx, 5*time.Second, p.busGauge) })
		if p.overKafka() {
			group.Add("due", p.dueRelay(seat).Run)
		}
	}
	if p.has(roleRelay) && p.storage.cursors != nil && !p.config.Signing.Events {
		group.Add("relay cursor", func(ctx context.Context) error { // what is not relayed any more need not be kept for it
			if err := p.storage.cursors.Forget(ctx, bus.Events); err != nil {
				p.log.WarnContext(ctx, "events are kept for a relay that is switched off", "error", err)
			}
			return nil
		})
	}
	if !p.pipelined() {
		return
	}
	if p.has(roleSigningWorker) {
		for range p.config.Signing.Workers {
			group.Add("signing worker", p.signingWorker().Run)
		}
	}
	group.Add("signing gauges", func(ctx context.Context) error { return telemetry.Every(ctx, 5*time.Second, p.signingGauge) })
}

// busGauge measures how far the groups are behind. Who hands out does, for a group of which nobody is left could not tell itself.
func (p *platform) busGauge(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	backlogs, err := p.storage.bus.Backlogs(ctx)
	if err != nil {
		p.log.DebugContext(ctx, "how far groups are behind is not known", "error", err)
	}
	for _, b := range backlogs {
		p.metrics.Behind(b.Group, b.Topic, b.Records)
	}
}

// relay takes what is committed to the bus.
func (p *platform) relay(seat *leader.Seat) *relay.Relay {
	r := &relay.Relay{Cursors: p.storage.cursors, Bus: p.storage.bus, Seat: seat, Log: p.log, Observe: p.metrics.Relayed}
	if p.pipelined() {
		r.Sources = append(r.Sources, &relay.Unsigned{Requests: p.storage.requests})
	}
	if p.config.Signing.Events {
		r.Sources = append(r.Sources, &relay.Events{Outbox: p.storage.outbox, Address: p.install.Contract.Hex()})
	}
	return r
}

// signingWorker reads requests and carries them out.
func (p *platform) signingWorker() bus.Consumer {
	w := &signer.Worker{
		Signer: p.signerFor("worker", leaseWait), Decisions: p.storage.decisions, Requests: p.storage.requests, Bus: p.storage.bus, Log: p.log, Observe: p.metrics.SigningRequests,
		Answered: p.nudge("sign"),
	}
	c := p.consumer(signer.Group, bus.Unsigned, w.Handle)
	c.Batch = p.config.Signing.Batch
	c.Pause = func(n int) time.Duration { return min(100*time.Millisecond<<min(n, 10), leaselessPause) }
	return c
}

func (p *platform) signingGauge(ctx context.Context) {
	if n, oldest, err := p.storage.requests.Waiting(ctx); err == nil {
		p.metrics.SigningWaiting(n, oldest, time.Now())
	}
}
