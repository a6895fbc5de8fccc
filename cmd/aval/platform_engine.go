package main

import (
	"context"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/avalhq/aval/internal/action/controller"
	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/internal/action/workflow"
	"github.com/avalhq/aval/internal/custody/policy"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/schemas"
	"github.com/avalhq/aval/workflows"
)

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
		Nudges: p.storage.nudges, Calls: p.storage.record, Tokens: p.tasks,
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
