package referencetest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/avalhq/aval/internal/event/eventtest"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
)

// Truth is what Reference reads of Guarantee, in memory: messages that a test accepts and moves, each move with its event
// on Log. It runs the suite of reference.Source itself.
type Truth struct {
	Log *eventtest.Log

	mu       sync.Mutex
	live     map[message.ID]guarantee.Snapshot
	archived []guarantee.Snapshot
	begin    time.Time
}

// NewTruth is empty; its messages are accepted a second apart.
func NewTruth() *Truth {
	return &Truth{
		Log: eventtest.NewLog(), live: map[message.ID]guarantee.Snapshot{}, begin: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	}
}

// Accept takes n messages of a client.
func (g *Truth) Accept(client string, n int) (ids []message.ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	snaps := make([]guarantee.Snapshot, n)
	for i := range snaps {
		at := g.begin.Add(time.Duration(len(g.live)+len(g.archived)) * time.Second)
		snaps[i] = guarantee.Snapshot{
			ID: message.NewID(), Version: 1, State: "validate", Status: guarantee.Running, Accepted: at, Updated: at,
			Attributes: guarantee.Attributes{Client: client, Type: "note.v1", Chain: "eip155:1337", Signer: "0x" + client},
		}
		g.live[snaps[i].ID] = snaps[i]
		ids = append(ids, snaps[i].ID)
	}
	g.Log.Append(snaps...)
	return ids
}

// Move brings a message to a new version.
func (g *Truth) Move(id message.ID, state string, status guarantee.Status) {
	g.MoveAll([]message.ID{id}, state, status)
}

// MoveAll brings messages to new versions; their events come on Log together.
func (g *Truth) MoveAll(ids []message.ID, state string, status guarantee.Status) {
	g.mu.Lock()
	defer g.mu.Unlock()
	moved := make([]guarantee.Snapshot, len(ids))
	for i, id := range ids {
		moved[i] = g.move(id, state, status)
	}
	g.Log.Append(moved...)
}

func (g *Truth) move(id message.ID, state string, status guarantee.Status) guarantee.Snapshot {
	snap := g.live[id]
	snap.Version++
	snap.State, snap.Status, snap.Updated = state, status, snap.Updated.Add(time.Millisecond)
	if status == guarantee.Parked {
		snap.Reason = "it waits for a person"
	}
	if snap.Archived = status.Terminal(); snap.Archived {
		delete(g.live, id)
		g.archived = append(g.archived, snap)
	} else {
		g.live[id] = snap
	}
	return snap
}

// All gives every message by id: what Reference has to come to.
func (g *Truth) All() []guarantee.Snapshot {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := slices.Clone(g.archived)
	for _, snap := range g.live {
		all = append(all, snap)
	}
	slices.SortFunc(all, byID)
	return all
}

// Scan walks the live messages by id, then the archive.
func (g *Truth) Scan(_ context.Context, from string, limit int) (page []guarantee.Snapshot, next string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if after, archived := strings.CutPrefix(from, "archive:"); archived {
		n, err := strconv.Atoi(after)
		if err != nil {
			return nil, "", fmt.Errorf("scan from %q: %w", from, err)
		}
		end := min(n+limit, len(g.archived))
		if page = slices.Clone(g.archived[n:end]); len(page) < limit {
			return page, "", nil
		}
		return page, "archive:" + strconv.Itoa(end), nil
	}
	for id, snap := range g.live {
		if string(id) > from {
			page = append(page, snap)
		}
	}
	slices.SortFunc(page, byID)
	if len(page) < limit {
		return page, "archive:0", nil
	}
	return page[:limit], string(page[limit-1].ID), nil
}

// Snapshots reads messages by id.
func (g *Truth) Snapshots(_ context.Context, ids []message.ID) (found []guarantee.Snapshot, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, id := range ids {
		if snap, there := g.live[id]; there {
			found = append(found, snap)
		}
	}
	for _, snap := range g.archived {
		if slices.Contains(ids, snap.ID) {
			found = append(found, snap)
		}
	}
	return found, nil
}

func byID(a, b guarantee.Snapshot) int { return cmp.Compare(a.ID, b.ID) }
