// Package workflow is the library of definitions: the newest of each name, and every one that a message is pinned to.
package workflow

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"

	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/problem"
)

// Library finds definitions. It implements guarantee.Workflows.
type Library struct {
	store   guarantee.Definitions
	actions machine.Actions
	mu      sync.RWMutex
	newest  map[string]*machine.Definition // by name, which is the message type
	pinned  map[string]*machine.Definition // by reference
}

// New makes an empty library.
func New(store guarantee.Definitions, actions machine.Actions) *Library {
	return &Library{store: store, actions: actions, newest: map[string]*machine.Definition{}, pinned: map[string]*machine.Definition{}}
}

// LoadAll adds every *.yaml and *.json file in the root of files, named by the file's name.
func (l *Library) LoadAll(ctx context.Context, files fs.FS) error {
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		return fmt.Errorf("read the workflows: %w", err)
	}
	for _, e := range entries {
		ext := path.Ext(e.Name())
		if e.IsDir() || (ext != ".yaml" && ext != ".json") {
			continue
		}
		source, err := fs.ReadFile(files, e.Name())
		if err != nil {
			return fmt.Errorf("read the workflow %s: %w", e.Name(), err)
		}
		if err := l.Add(ctx, strings.TrimSuffix(e.Name(), ext), source); err != nil {
			return err
		}
	}
	return nil
}

// Add loads, stores and makes a definition the newest of its name.
func (l *Library) Add(ctx context.Context, name string, source []byte) error {
	def, err := machine.Load(name, source, l.actions)
	if err != nil {
		return err
	}
	if err := l.store.Put(ctx, def.Ref(), source); err != nil {
		return fmt.Errorf("store the workflow %s: %w", def.Ref(), err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.newest[name], l.pinned[def.Ref()] = def, def
	return nil
}

// Begin gives the newest definition for a message type.
func (l *Library) Begin(messageType string) (guarantee.Start, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	def := l.newest[messageType]
	if def == nil {
		return guarantee.Start{}, problem.New(problem.Invalid, "message-type-unknown", "there is no workflow for messages of type %q", messageType)
	}
	return guarantee.Start{Ref: def.Ref(), State: def.StartAt, Place: def.Start().Encode()}, nil
}

// Again gives the start of a pinned definition, for a message that stands at place.
func (l *Library) Again(ctx context.Context, ref string, place []byte) (guarantee.Start, error) {
	def, err := l.Find(ctx, ref)
	if err != nil {
		return guarantee.Start{}, err
	}
	p, err := machine.DecodePlace(place)
	if err != nil {
		return guarantee.Start{}, err
	}
	return guarantee.Start{Ref: ref, State: def.StartAt, Place: def.Replay(p).Encode()}, nil
}

// Restart begins a place's state anew.
func (l *Library) Restart(place []byte) ([]byte, error) {
	p, err := machine.DecodePlace(place)
	if err != nil {
		return nil, err
	}
	return p.Restart().Encode(), nil
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
	if def, err = machine.Load(name, source, l.actions); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pinned[ref] = def
	return def, nil
}
