package step

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/avalhq/aval/internal/clients"
	"github.com/avalhq/aval/internal/custody/policy"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/problem"
)

// Gate asks the policy about a message, with what is true now: who the client is, whose wallet it is, what would be signed.
type Gate struct {
	policy  *policy.Policy
	clients Clients
	wallets Wallets
	now     func() time.Time
}

// NewGate uses the policy; now is given to its rules.
func NewGate(p *policy.Policy, clients Clients, wallets Wallets, now func() time.Time) *Gate {
	return &Gate{p, clients, wallets, now}
}

// batch is the gate for tasks that are decided together: of each client it reads once what is true now. It is used by one goroutine
// and not kept.
func (g *Gate) batch() *Gate {
	b := *g
	b.clients = &read{from: g.clients, clients: map[string]clients.Client{}}
	return &b
}

// read is the clients that were asked for, as they were then.
type read struct {
	from    Clients
	clients map[string]clients.Client
}

// Get reads a client, once.
func (r *read) Get(ctx context.Context, id string) (clients.Client, error) {
	if c, is := r.clients[id]; is {
		return c, nil
	}
	c, err := r.from.Get(ctx, id)
	if err == nil {
		r.clients[id] = c
	}
	return c, err
}

// Allow gives the name of the rule that allows the message, or policy-denied, or client-disabled. tx is nil before there is
// a transaction.
func (g *Gate) Allow(ctx context.Context, task Task, tx *policy.Transaction) (rule string, err error) {
	rec := task.Record
	who, err := g.clients.Get(ctx, rec.Client)
	if err != nil {
		return "", err
	}
	if who.Disabled {
		return "", problem.New(problem.Forbidden, "client-disabled", "client %s was disabled after it had sent the message", rec.Client)
	}
	in := policy.Input{Message: rec.Message, Client: who, Tx: tx, Now: g.now()}
	var order struct {
		Wallet string `json:"wallet"`
	}
	if err := json.Unmarshal(rec.Body, &order); err == nil && order.Wallet != "" {
		w, err := g.wallets.Get(ctx, order.Wallet)
		if err != nil {
			return "", err
		}
		in.Wallet = &w
	}
	decision := g.policy.Decide(in)
	if !decision.Allowed {
		return "", problem.New(problem.Forbidden, "policy-denied", "the policy denies this %s: rule %s decided", rec.Type, decision.Rule)
	}
	return decision.Rule, nil
}

// late refuses a message that has waited, parked or for a cheaper chain, until after the time that its client set.
func (g *Gate) late(task Task) error {
	expires := task.Record.Expires
	if !expires.Before(g.now()) {
		return nil
	}
	return problem.New(problem.Gone, "message-expired", "the message was good until %s and nothing was signed for it by then; send a new one if it is still wanted", expires.UTC().Format(time.RFC3339))
}

// Authorize lets a message through that the policy allows; the rule that decided goes into the history. What is denied after
// it was signed, when it is replayed, must not end as refused: its transaction can be on the chain.
func Authorize(gate *Gate, decisions Decisions) Action {
	return Action{Name: "authorize", Batch: 256, Run: func(ctx context.Context, tasks []Task) []Outcome {
		gate, out := gate.batch(), make([]Outcome, len(tasks))
		for i, task := range tasks {
			rule, err := gate.Allow(ctx, task, nil)
			if err != nil && problem.KindOf(err) == problem.Forbidden {
				err = afterSigning(ctx, decisions, task, err)
			}
			out[i] = Outcome{Output: map[string]string{"rule": rule}, Note: "rule: " + rule, Err: err}
		}
		return out
	}}
}

// afterSigning gives the denial, or what is said instead of it when the message was signed before.
func afterSigning(ctx context.Context, decisions Decisions, task Task, denial error) error {
	if len(task.Begun) == 0 {
		return denial
	}
	steps := make([]signer.Step, len(task.Begun))
	for i, state := range task.Begun {
		steps[i] = signer.Step{Message: task.Record.ID, State: state}
	}
	decided, err := decisions.Find(ctx, steps)
	switch {
	case err != nil:
		return fmt.Errorf("look up whether the message was signed: %w", err)
	case len(decided) == 0:
		return denial
	}
	return problem.New(problem.Conflict, "denied-too-late", "the message was signed before and can be on its chain, so it is not refused now: allow it and resume it, or leave it here (%w)", denial)
}
