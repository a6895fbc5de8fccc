package main

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/avalhq/aval/internal/auth"
)

type serveCommand struct {
	settings `embed:""`
	Role     []string `help:"What this process does: api, controller, watcher, relay, signing-worker, or all of it; sender, tx-verify; or key-manager alone. Several with commas; on a PostgreSQL database other processes do the rest." default:"all" placeholder:"ROLE"`
	File     string   `name:"config" required:"" env:"AVAL_CONFIG" help:"Configuration file; aval config prints an example." placeholder:"FILE"`
}

// Help is shown by aval serve --help.
func (serveCommand) Help() string {
	return `The same platform as aval dev, without what makes development convenient: no ready-made client, no coin from a faucet, and the development issuer only where the file says auth.dev_issuer: true. Then the operator's credentials are left in operator.json in the data folder.

    aval config > aval.yaml
    aval config check aval.yaml
    aval serve --config aval.yaml

On a PostgreSQL database several processes share the work. Each does all of it, or has one or more of these roles, each of which some process has to have:

    api         serves the HTTP API
    controller  drives messages through their workflows, signs and sends
    watcher     follows the chain, moves the read model on, looks after keys; several take turns

With signing.by: workers the controllers sign nothing, and some process has to have each of these as well:

    relay           takes what is committed to the bus; several take turns
    signing-worker  signs; as many as there is work for

Two more roles may be there or not, in any number of processes:

    sender      sends what signing workers have signed, as soon as they tell
    tx-verify   recovers the sender of everything that is signed and compares it with what was decided

Beside them, when the file has a section key_manager, a process with the role key-manager leases the keys to all others.

    aval serve --config aval.yaml --role controller,watcher`
}

// Run is the command.
func (c *serveCommand) Run(ctx context.Context, s *screen) (err error) {
	cfg, roles, err := c.forRoles(c.File, c.Role)
	if err != nil {
		return err
	}
	o, err := prepare(cfg, s)
	if err != nil {
		return err
	}
	if roles[0] == roleKeyManager {
		return serveKeyManager(ctx, cfg, o, s)
	}
	o.roles = roles
	r, err := launch(ctx, cfg, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.end()) }()
	if err := r.enrollOperator(ctx, filepath.Join(cfg.Data, "operator.json")); err != nil {
		return err
	}
	if s.json {
		s.encode(s.out, map[string]string{"event": "ready", "url": r.url(), "chain": r.chainID})
	} else {
		s.say("Serving %s at %s. Ctrl-C stops it.", r.chainID, r.url())
	}
	return r.wait(ctx, s)
}

// enrollOperator leaves a login for the first operator, when it is the development issuer that gives tokens.
func (r *running) enrollOperator(ctx context.Context, path string) error {
	if r.issuer == nil || !r.has(roleAPI) {
		return nil
	}
	p, there, err := readProfile(path)
	if err != nil {
		return err
	}
	if _, err := r.issuer.Check(ctx, p.Operator.ID, p.Operator.Secret); !there || err != nil {
		p.Operator.ID = "operator"
		if r.seat != nil { // other processes leave credentials of their own
			p.Operator.ID += "-" + r.storage.process
		}
		if p.Operator.Secret, err = r.issuer.Enroll(ctx, p.Operator.ID, auth.Operator); err != nil {
			return err
		}
	}
	p.URL = r.url()
	return p.write(path)
}
