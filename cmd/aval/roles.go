package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/avalhq/aval/internal/config"
	"github.com/avalhq/aval/internal/lifecycle"
	"github.com/avalhq/aval/internal/telemetry"
)

// role is a process's part in what several processes on one database do. A process can have several.
type role string

// The roles.
const (
	roleAPI        role = "api"        // serves the HTTP API and live streams
	roleController role = "controller" // drives messages through their workflows, and signs and sends for them
	roleWatcher    role = "watcher"    // keeps the lanes of the chain, moves Reference on, looks after keys: one process at a time
	roleSender     role = "sender"     // sends what signing workers announce
	roleVerify     role = "tx-verify"  // compares what was signed with what was decided
	roleAll        role = "all"

	roleRelay         role = "relay"          // takes what is committed to the bus: one process at a time
	roleSigningWorker role = "signing-worker" // signs, where controllers do not
	roleKeyManager    role = "key-manager"    // leases keys to the others; a process of its own, which holds none of them and asks no chain
)

// every role that the work needs, as all means it.
func every() []role {
	return []role{roleAPI, roleController, roleWatcher, roleRelay, roleSigningWorker}
}

// offered are all roles: with those that an installation may have or not.
func offered() []role { return append(every(), roleSender, roleVerify) }

// parseRoles reads what --role says; nothing means all.
func parseRoles(names []string) (roles []role, err error) {
	for _, name := range names {
		switch r := role(strings.TrimSpace(name)); {
		case r == roleAll:
			roles = append(roles, every()...)
		case r == roleKeyManager && len(names) == 1:
			return []role{r}, nil
		case r == roleKeyManager:
			return nil, misused("role-alone", "the key-manager is a process of its own; start it with --role key-manager alone, and the others beside it")
		case slices.Contains(offered(), r):
			roles = append(roles, r)
		default:
			return nil, misused("role-unknown", "there is no role %q; --role takes %s, or all but the last two as all, and several of them with commas; or key-manager alone", name, named(offered()))
		}
	}
	if len(roles) == 0 {
		return every(), nil
	}
	slices.Sort(roles)
	return slices.Compact(roles), nil
}

// has says whether this process has the role.
func (p *platform) has(r role) bool {
	if len(p.options.roles) == 0 {
		return slices.Contains(every(), r)
	}
	return slices.Contains(p.options.roles, r)
}

// forRoles reads a file for a process with these roles, and refuses what cannot work in it.
func (f settings) forRoles(file string, names []string) (c config.Config, roles []role, err error) {
	if roles, err = parseRoles(names); err != nil {
		return c, nil, err
	}
	if c, err = f.read(file); err != nil {
		return c, nil, err
	}
	return c, roles, checkRoles(roles, c)
}

// checkRoles refuses roles that do not fit the rest of the configuration, an API that nobody could call, and a key-manager that
// listens nowhere.
func checkRoles(roles []role, c config.Config) error {
	if err := fitting(roles, c); err != nil {
		return err
	}
	if slices.Contains(roles, roleAPI) && c.Auth.Issuer == "" && !c.Auth.DevIssuer {
		return misused("config-invalid", "auth.issuer is empty and auth.dev_issuer is off: nobody could call; set the URL of your OIDC issuer")
	}
	if roles[0] == roleKeyManager && c.KeyManager.Listen == "" {
		return misused("config-invalid", "key_manager.listen is empty: say where the key-manager listens, such as 0.0.0.0:8443")
	}
	return nil
}

// fitting refuses a part of the roles where no other process can have the rest, and roles that have nothing to do.
func fitting(roles []role, c config.Config) error {
	whole := !slices.ContainsFunc(every(), func(r role) bool { return !slices.Contains(roles, r) })
	if c.Database.URL == "" {
		switch {
		case !whole:
			return misused("role-needs-database", "a process without a PostgreSQL database has every role; leave --role out, or set database.url")
		case len(roles) > len(every()):
			return misused("role-needs-database", "the roles sender and tx-verify work on a PostgreSQL database; set database.url, or look at the whole record with aval job verify")
		}
		return nil
	}
	if c.Signing.By == config.SignedByWorkers {
		return nil
	}
	for _, r := range []role{roleSigningWorker, roleSender} {
		if slices.Contains(roles, r) && (!whole || r == roleSender) {
			return misused("role-without-work", "the role %s has nothing to do while controllers sign; set signing.by to workers, for all processes", r)
		}
	}
	return nil
}

// named lists roles for people.
func named(roles []role) string {
	names := make([]string, len(roles))
	for i, r := range roles {
		names[i] = string(r)
	}
	return strings.Join(names, ", ")
}

// services are what the roles of this process run, in the order of their start. Every process answers for its health, and for its
// metrics, at the address of the API.
func (p *platform) services(group *lifecycle.Group) {
	group.Add("storage", p.storage.watch)
	if p.seat != nil && p.has(roleWatcher) {
		group.Add("seat", p.seat.Run)
		group.Add("keys", func(ctx context.Context) error { return p.signer.Tend(ctx, p.storage.holder, p.seat, 2*time.Second) })
	}
	group.Add("hub", p.hub.Run)
	if p.has(roleAPI) || p.has(roleWatcher) {
		group.Add("reference", p.follower.Run)
	}
	if p.has(roleController) || p.has(roleWatcher) || p.has(roleSender) {
		group.Add("lanes", p.keeper.Run)
	}
	p.signedServices(group)
	if p.has(roleController) {
		group.Add("controller", p.control.Run)
	} else {
		group.Add("nudges", p.control.Tell)
	}
	p.pipelineServices(group)
	group.Add("gauges", func(ctx context.Context) error { return telemetry.Every(ctx, 5*time.Second, p.gauge) })
	group.Add("api", func(ctx context.Context) error { return p.server.Serve(ctx, p.listener) })
}
