package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/avalhq/aval/internal/action/controller"
	"github.com/avalhq/aval/internal/action/feeder/handed"
	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/internal/action/workflow"
	"github.com/avalhq/aval/internal/backend/kafka"
	"github.com/avalhq/aval/internal/config"
	"github.com/avalhq/aval/internal/event"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/lifecycle"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/reference"
)

// stepsWorkflow is seven Tasks that count as having an outside effect: each is committed before the next begins.
const stepsWorkflow = 7

func stepsSource() string {
	var b strings.Builder
	b.WriteString("QueryLanguage: CEL\nStartAt: S1\nStates:\n  Bad: {Type: Fail}\n")
	for i := 1; i <= stepsWorkflow; i++ {
		next := fmt.Sprintf("Next: S%d", i+1)
		if i == stepsWorkflow {
			next = "End: true"
		}
		fmt.Fprintf(&b, "  S%d: {Type: Task, Resource: count, Catch: [{ErrorEquals: [States.ALL], Next: Bad}], %s}\n", i, next)
	}
	return b.String()
}

// count is the action of the steps: it answers at once; the last one asks for the archive.
func count() step.Action {
	last := fmt.Sprintf("S%d", stepsWorkflow)
	return step.Action{Name: "count", Effect: true, Batch: 64, Parallel: 2, Run: func(_ context.Context, tasks []step.Task) []step.Outcome {
		out := make([]step.Outcome, len(tasks))
		for i := range tasks {
			out[i].Archive = tasks[i].State == last
		}
		return out
	}}
}

// stepsBench is the engine alone: Guarantee, feeder, controller and Reference, without HTTP, signatures and chain.
type stepsBench struct {
	*meter
	store record
	relay *handed.Relay // of what is due, when it travels over Kafka; or nil
	start guarantee.Start
	body  []byte
	mu    sync.Mutex
	begun map[message.ID]time.Time
}

func benchSteps(ctx context.Context, m *meter) (f figures, err error) {
	folder, remove, err := m.flags.folder()
	if err != nil {
		return f, err
	}
	defer remove()
	cfg, err := m.flags.config(folder)
	if err != nil {
		return f, err
	}
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		return f, err
	}
	storage, err := openStorage(ctx, cfg, nil)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, storage.close()) }()
	relay, closer, err := benchOver(ctx, cfg.Kafka, &storage)
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, closer()) }()

	b := &stepsBench{meter: m, relay: relay, store: storage.record, begun: map[message.ID]time.Time{}}
	b.body, err = json.Marshal(map[string]string{"text": strings.Repeat("x", 900)})
	if err != nil {
		return f, err
	}
	registry, err := step.NewRegistry(count())
	if err != nil {
		return f, err
	}
	library := workflow.New(b.store, machine.Rules{Actions: registry.Effect})
	if err := library.Add(ctx, "steps.v1", []byte(stepsSource())); err != nil {
		return f, err
	}
	if b.start, err = library.Begin(ctx, "steps.v1", ""); err != nil {
		return f, err
	}
	control := controller.New(b.store, storage.feeder, library, registry, controller.Config{Observe: controller.Observer{Ended: b.ended}})
	follower := &reference.Follower{Outbox: storage.outbox, Source: b.store, Store: storage.mirror, Repairs: storage.mirror, Hub: event.NewHub(), KeepFor: storage.keep}
	return b.run(ctx, control, follower)
}

// benchOver has due ids travel over Kafka, when the configuration names one: over topics of the benchmark's own.
func benchOver(ctx context.Context, c config.Kafka, s *storage) (*handed.Relay, func() error, error) {
	if c.Brokers == "" {
		return nil, func() error { return nil }, nil
	}
	options, err := kafkaOptions(c)
	if err != nil {
		return nil, nil, err
	}
	options.Prefix, options.Installation = c.Prefix+"bench.", "bench"
	if _, err := kafka.Init(ctx, options, false); err != nil {
		return nil, nil, err
	}
	closer, err := carryOver(ctx, s, options, nil)
	return &handed.Relay{Table: s.table, Bus: s.bus}, closer, err
}

func (b *stepsBench) run(ctx context.Context, control *controller.Controller, follower *reference.Follower) (f figures, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var group lifecycle.Group
	group.Add("hub", follower.Hub.Run)
	group.Add("reference", follower.Run)
	group.Add("controller", control.Run)
	if b.relay != nil {
		group.Add("due", b.relay.Run)
	}
	b.Begin()
	group.Add("load", func(ctx context.Context) error {
		defer stop()
		if err := b.load(ctx); err != nil {
			return err
		}
		b.Drain(ctx)
		f, err = b.figures("steps", stepsWorkflow)
		return err
	})
	return f, group.Run(ctx)
}

// load accepts messages as the service would, without their signatures, as many at once as there are places.
func (b *stepsBench) load(ctx context.Context) error {
	var ids []guarantee.Issued
	var accepting sync.WaitGroup
	defer accepting.Wait()
	for n := 0; b.Enter(ctx, n); n++ {
		if len(ids) == 0 {
			for range 100 {
				ids = append(ids, guarantee.Issued{ID: message.NewID(), Client: "cli_bench", Expires: time.Now().Add(time.Hour)})
			}
			if err := b.store.Issue(ctx, ids); err != nil {
				return err
			}
		}
		id := ids[0].ID
		ids = ids[1:]
		accepting.Go(func() { b.accept(ctx, id) })
	}
	return nil
}

func (b *stepsBench) accept(ctx context.Context, id message.ID) {
	now := time.Now()
	b.mu.Lock()
	b.begun[id] = now
	b.mu.Unlock()
	_, _, err := b.store.Accept(ctx, guarantee.Acceptance{
		Record: guarantee.Record{
			Verified: message.Verified{
				Message: message.Message{ID: id, Type: "steps.v1", Client: "cli_bench", Chain: "eip155:1337", Expires: now.Add(time.Hour), Body: b.body},
				Scheme:  message.EIP191, Digest: crypto.Keccak256Hash([]byte(id)), Original: b.body,
			},
			Workflow: b.start.Ref, State: b.start.State, Status: guarantee.Running, Place: b.start.Place, Due: now,
		},
		Attributes: guarantee.Attributes{Client: "cli_bench", Type: "steps.v1", Chain: "eip155:1337"},
	}, now)
	if err != nil {
		b.Leave(now, false)
	}
}

func (b *stepsBench) ended(rec *guarantee.Record) {
	b.mu.Lock()
	began := b.begun[rec.ID]
	delete(b.begun, rec.ID)
	b.mu.Unlock()
	b.Leave(began, rec.Status == guarantee.Succeeded)
}
