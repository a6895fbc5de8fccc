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
	roleAll        role = "all"

	roleRelay         role = "relay"          // takes what is committed to the bus: one process at a time
	roleSigningWorker role = "signing-worker" // signs, where controllers do not
)

// every role there is, as all means it.
func every() []role {
	return []role{roleAPI, roleController, roleWatcher, roleRelay, roleSigningWorker}
}

// parseRoles reads what --role says; nothing means all.
func parseRoles(names []string) (roles []role, err error) {
	for _, name := range names {
		switch r := role(strings.TrimSpace(name)); {
		case r == roleAll:
			return every(), nil
		case slices.Contains(roles, r): // said twice
		case slices.Contains(every(), r):
			roles = append(roles, r)
		default:
			return nil, misused("role-unknown", "there is no role %q; --role takes %s or all, and several of them with commas", name, named(every()))
		}
	}
	if len(roles) == 0 {
		return every(), nil
	}
	return roles, nil
}

// has says whether this process has the role.
func (p *platform) has(r role) bool {
	return len(p.options.roles) == 0 || slices.Contains(p.options.roles, r)
}

// checkRoles refuses a part of the roles where no other process can have the rest.
func checkRoles(roles []role, c config.Config) error {
	if c.Database.URL == "" && len(roles) < len(every()) {
		return misused("role-needs-database", "a process without a PostgreSQL database has every role; leave --role out, or set database.url")
	}
	if whole := len(roles) == len(every()); !whole && slices.Contains(roles, roleSigningWorker) && c.Signing.By != config.SignedByWorkers {
		return misused("role-without-work", "the role %s has nothing to do while controllers sign; set signing.by to workers, for all processes", roleSigningWorker)
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
	if p.has(roleController) || p.has(roleWatcher) {
		group.Add("lanes", p.keeper.Run)
	}
	if p.has(roleController) {
		group.Add("controller", p.control.Run)
	}
	p.pipelineServices(group)
	group.Add("gauges", func(ctx context.Context) error { return telemetry.Every(ctx, 5*time.Second, p.gauge) })
	group.Add("api", func(ctx context.Context) error { return p.server.Serve(ctx, p.listener) })
}
