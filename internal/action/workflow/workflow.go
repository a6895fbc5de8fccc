// Package workflow is the library of definitions: the newest of each name, every one that a message is pinned to, and the
// aliases that say which of them new messages begin with.
package workflow

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
)

// Library finds definitions. It implements guarantee.Workflows.
type Library struct {
	store   guarantee.Definitions
	rules   machine.Rules
	mu      sync.RWMutex
	newest  map[string]*machine.Definition // by name, which is the message type
	pinned  map[string]*machine.Definition // by reference
	aliases map[string]guarantee.Alias     // by name
	asked   time.Time                      // when the aliases were read
}

// New makes an empty library. New definitions are held to all of the rules; those that messages are pinned to, and were good when
// they came, to the language alone.
func New(store guarantee.Definitions, rules machine.Rules) *Library {
	return &Library{
		store: store, rules: rules,
		newest: map[string]*machine.Definition{}, pinned: map[string]*machine.Definition{}, aliases: map[string]guarantee.Alias{},
	}
}

// LoadAll adds every *.yaml and *.json file in the root of files, named by the file's name. What is not good is told of all
// files at once; the warnings name file, line and column.
func (l *Library) LoadAll(ctx context.Context, files fs.FS) (warnings []string, err error) {
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		return nil, fmt.Errorf("read the workflows: %w", err)
	}
	var refused []string
	for _, e := range entries {
		ext := path.Ext(e.Name())
		if e.IsDir() || (ext != ".yaml" && ext != ".json") {
			continue
		}
		source, err := fs.ReadFile(files, e.Name())
		if err != nil {
			return nil, fmt.Errorf("read the workflow %s: %w", e.Name(), err)
		}
		found, err := l.add(ctx, strings.TrimSuffix(e.Name(), ext), source)
		if errs := found.Errors(); len(errs) > 0 {
			refused = append(refused, errs.In(e.Name())...)
			continue
		}
		if err != nil {
			return nil, err
		}
		warnings = append(warnings, found.In(e.Name())...)
	}
	if len(refused) > 0 {
		return nil, problem.New(problem.Invalid, "workflow-invalid", "the workflows cannot be used: %s", strings.Join(refused, "; "))
	}
	return warnings, nil
}

// Add stores a definition and makes it the newest of its name.
func (l *Library) Add(ctx context.Context, name string, source []byte) error {
	_, err := l.add(ctx, name, source)
	return err
}

// add gives what there is to warn about.
func (l *Library) add(ctx context.Context, name string, source []byte) (machine.Findings, error) {
	def, found, err := l.keep(ctx, name, source)
	if err != nil {
		return found, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.newest[name] = def
	return found, nil
}

// keep checks and stores a definition.
func (l *Library) keep(ctx context.Context, name string, source []byte) (*machine.Definition, machine.Findings, error) {
	def, found := machine.Review(name, source, l.rules)
	if def == nil {
		return nil, found, found.Refused(name)
	}
	if err := l.store.Put(ctx, def.Ref(), source); err != nil {
		return nil, nil, fmt.Errorf("store the workflow %s: %w", def.Ref(), err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pinned[def.Ref()] = def
	return def, found, nil
}

// Begin gives the definition that a message of the type begins with: the one that the type's alias directs this id to, or the
// newest where there is no alias.
func (l *Library) Begin(ctx context.Context, messageType string, id message.ID) (guarantee.Start, error) {
	routes, err := l.routes(ctx, messageType)
	if err != nil {
		return guarantee.Start{}, err
	}
	if len(routes) > 0 {
		def, err := l.Find(ctx, choose(routes, id))
		if err != nil {
			return guarantee.Start{}, err
		}
		return begin(def), nil
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	def := l.newest[messageType]
	if def == nil {
		return guarantee.Start{}, problem.New(problem.Invalid, "message-type-unknown", "there is no workflow for messages of type %q", messageType)
	}
	return begin(def), nil
}

func begin(def *machine.Definition) guarantee.Start {
	return guarantee.Start{Ref: def.Ref(), State: def.StartAt, Place: def.Start().Encode()}
}

// Again gives the start of a pinned definition, for a message that stands at place.
func (l *Library) Again(ctx context.Context, ref string, place []byte, parts []guarantee.Part) (guarantee.Start, error) {
	return l.anew(ctx, ref, place, parts, (*machine.Definition).Replay)
}

// Restart begins a place's state anew.
func (l *Library) Restart(ctx context.Context, ref string, place []byte, parts []guarantee.Part) (guarantee.Start, error) {
	return l.anew(ctx, ref, place, parts, func(_ *machine.Definition, p machine.Place) (machine.Place, machine.Changes) { return p.Restart() })
}

// Bars compares the definitions, and tells why a message of the first that stands at place cannot go on in the second.
func (l *Library) Bars(ctx context.Context, from, to string, place []byte, parts []guarantee.Part) (string, error) {
	a, err := l.Find(ctx, from)
	if err != nil {
		return "", err
	}
	b, err := l.Find(ctx, to)
	if err != nil {
		return "", err
	}
	if place == nil {
		return "", nil
	}
	c, err := machine.Compare(a, b)
	if err != nil {
		return "", err
	}
	p, err := Place(place, parts)
	if err != nil {
		return "its place cannot be read: " + err.Error(), nil //nolint:nilerr // that is the answer
	}
	return a.Bars(p, c), nil
}

// anew makes another place of the one where a message stands.
func (l *Library) anew(ctx context.Context, ref string, place []byte, parts []guarantee.Part,
	change func(*machine.Definition, machine.Place) (machine.Place, machine.Changes),
) (guarantee.Start, error) {
	def, err := l.Find(ctx, ref)
	if err != nil {
		return guarantee.Start{}, err
	}
	before, err := Place(place, parts)
	if err != nil {
		return guarantee.Start{}, err
	}
	after, changes := change(def, before)
	return guarantee.Start{Ref: def.Ref(), State: after.State, Place: after.Encode(), Parts: Parts(after, changes), Abandoned: def.Abandoned(before, after)}, nil
}

// Place reads the place of a message as Guarantee holds it.
func Place(raw []byte, stored []guarantee.Part) (machine.Place, error) {
	parts := make([]machine.Part, len(stored))
	for i, p := range stored {
		parts[i] = machine.Part(p)
	}
	return machine.DecodePlace(raw, parts)
}

// Parts are the changed parts of a place as Guarantee stores them.
func Parts(p machine.Place, changes machine.Changes) (parts []guarantee.Part) {
	for _, part := range p.Parts(changes) {
		parts = append(parts, guarantee.Part(part))
	}
	return parts
}

// Find gives a pinned definition, from the store when this process has not seen it.
func (l *Library) Find(ctx context.Context, ref string) (*machine.Definition, error) {
	l.mu.RLock()
	def := l.pinned[ref]
	l.mu.RUnlock()
	if def != nil {
		return def, nil
	}
	source, err := l.store.Definition(ctx, ref)
	if err != nil {
		return nil, err
	}
	name, _, _ := strings.Cut(ref, "@")
	if def, err = machine.Load(name, source, l.rules.Actions); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pinned[ref] = def
	return def, nil
}
