package workflow

import (
	"context"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
)

// aliasAge is how long a process may go by the aliases that it has read: another process may have set one meanwhile.
const aliasAge = time.Second

// maxWeight bounds one weight, so that no sum of them overflows.
const maxWeight = 1_000_000

// Version is a stored definition, as operators see it.
type Version struct {
	Ref     string
	Name    string
	Hash    string
	Comment string
	States  int
	Newest  bool // of its name: what this process was started with
	Weight  int  // of the alias; 0 where it has no share
}

// Install checks and stores a definition. Nothing begins with it until an alias directs messages to it.
// Refusals: workflow-unknown for a name that is no message type here, workflow-invalid with every mistake and its place.
func (l *Library) Install(ctx context.Context, name string, source []byte) (Version, error) {
	l.mu.RLock()
	known := l.newest[name] != nil
	l.mu.RUnlock()
	if !known {
		return Version{}, unknown(name)
	}
	def, _, err := l.keep(ctx, name, source)
	if err != nil {
		return Version{}, err
	}
	return Version{Ref: def.Ref(), Name: def.Name, Hash: def.Hash, Comment: def.Comment, States: len(def.States)}, nil
}

// Direct sets the alias of a message type: new messages begin with its definitions, in proportion to their weights. Messages
// that have begun stay with theirs. Without routes the alias is lifted. Refusals: workflow-unknown, alias-invalid.
func (l *Library) Direct(ctx context.Context, a guarantee.Alias) error {
	if err := l.check(ctx, a); err != nil {
		return err
	}
	if err := l.store.Direct(ctx, a); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.aliases[a.Name] = a
	return nil
}

func (l *Library) check(ctx context.Context, a guarantee.Alias) error {
	l.mu.RLock()
	known := l.newest[a.Name] != nil
	l.mu.RUnlock()
	if !known {
		return unknown(a.Name)
	}
	for i, r := range a.Routes {
		name, _, _ := strings.Cut(r.Ref, "@")
		switch {
		case name != a.Name:
			return problem.New(problem.Invalid, "alias-invalid", "the alias %s cannot lead to %s, which is for messages of another type", a.Name, r.Ref)
		case r.Weight < 1 || r.Weight > maxWeight:
			return problem.New(problem.Invalid, "alias-invalid", "the weight of %s is %d; give a whole number from 1 to %d", r.Ref, r.Weight, maxWeight)
		case slices.ContainsFunc(a.Routes[:i], func(other guarantee.Route) bool { return other.Ref == r.Ref }):
			return problem.New(problem.Invalid, "alias-invalid", "%s is named twice; give it one weight", r.Ref)
		}
		if _, err := l.Find(ctx, r.Ref); err != nil {
			return err
		}
	}
	return nil
}

// Versions lists all stored definitions by name; of those that can no longer be loaded, name and hash alone.
func (l *Library) Versions(ctx context.Context) ([]Version, error) {
	refs, err := l.store.References(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]Version, len(refs))
	for i, ref := range refs {
		name, hash, _ := strings.Cut(ref, "@")
		all[i] = Version{Ref: ref, Name: name, Hash: hash}
		routes, err := l.routes(ctx, name)
		if err != nil {
			return nil, err
		}
		for _, r := range routes {
			if r.Ref == ref {
				all[i].Weight = r.Weight
			}
		}
		if def, err := l.Find(ctx, ref); err == nil {
			all[i].Comment, all[i].States = def.Comment, len(def.States)
		}
		l.mu.RLock()
		all[i].Newest = l.newest[name] != nil && l.newest[name].Ref() == ref
		l.mu.RUnlock()
	}
	return all, nil
}

func unknown(name string) error {
	return problem.New(problem.NotFound, "workflow-unknown", "there are no workflows for messages of type %q", name)
}

// routes gives the present routes of a name, read anew when they are older than aliasAge.
func (l *Library) routes(ctx context.Context, name string) ([]guarantee.Route, error) {
	l.mu.RLock()
	routes, fresh := l.aliases[name].Routes, time.Since(l.asked) < aliasAge
	l.mu.RUnlock()
	if fresh {
		return routes, nil
	}
	asked := time.Now()
	all, err := l.store.Aliases(ctx)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range all {
		l.aliases[a.Name] = a
	}
	l.asked = asked
	return l.aliases[name].Routes, nil
}

// choose picks a route by the message's id: the same message gets the same one, and over many the shares are the weights'.
func choose(routes []guarantee.Route, id message.ID) string {
	sum := 0
	for _, r := range routes {
		sum += r.Weight
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // a hash takes everything
	at := int(h.Sum64() % uint64(sum))
	for _, r := range routes {
		if at -= r.Weight; at < 0 {
			return r.Ref
		}
	}
	return routes[len(routes)-1].Ref // not reached: at was below the sum
}
