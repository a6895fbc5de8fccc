package guarantee

import (
	"context"
	"errors"

	"github.com/avalhq/aval/internal/message"
)

// Migration asks that live messages go on with another definition of their workflow.
type Migration struct {
	From, To string // references, of one name
	DryRun   bool   // tell what would come of it
	By       string // who asks
}

// Migrated is what came of a migration.
type Migrated struct {
	Checked int      // live messages that were pinned to From
	Moved   int      // of these; in a dry run, those that would be
	Stayed  []Stayed // the first maxStayed of the others
}

// Stayed is a message that cannot be moved.
type Stayed struct {
	ID    message.ID
	State string
	Why   string
}

const (
	maxStayed    = 100
	migratePage  = 256
	migrateTries = 8 // of one message that moves on meanwhile
)

// Migrate moves the live messages of one definition to another, each in a commit of its own that is in its history. One that
// cannot be moved safely stays where it is. It may be repeated: what has moved is not met again. Refusals: workflow-unknown.
func (s *Service) Migrate(ctx context.Context, m Migration) (Migrated, error) {
	var out Migrated
	if _, err := s.Workflows.Bars(ctx, m.From, m.To, nil, nil); err != nil {
		return out, err
	}
	for after := message.ID(""); ; {
		ids, err := s.Store.Pinned(ctx, m.From, after, migratePage)
		if err != nil || len(ids) == 0 {
			return out, err
		}
		recs, err := s.Store.Load(ctx, ids)
		if err != nil {
			return out, err
		}
		for i := range recs {
			if err := s.migrate(ctx, m, &recs[i], &out); err != nil {
				return out, err
			}
		}
		after = ids[len(ids)-1]
	}
}

// migrate moves one message. Where it moved on meanwhile, it is read again.
func (s *Service) migrate(ctx context.Context, m Migration, rec *Record, out *Migrated) error {
	out.Checked++
	for range migrateTries {
		why, err := s.Workflows.Bars(ctx, m.From, m.To, rec.Place, rec.Parts)
		if err != nil {
			return err
		}
		if why != "" {
			out.stays(rec, why)
			return nil
		}
		if m.DryRun {
			out.Moved++
			return nil
		}
		refused, err := s.Store.Commit(ctx, []Transition{s.moving(m, rec)})
		if err != nil {
			return err
		}
		if refused[0] == nil {
			out.Moved++
			return nil
		}
		if !errors.Is(refused[0], ErrStale) {
			out.Checked-- // it has ended: no longer a live message
			return nil
		}
		again, err := s.Store.Load(ctx, []message.ID{rec.ID})
		if err != nil {
			return err
		}
		if len(again) == 0 || again[0].Workflow != m.From {
			out.Checked--
			return nil
		}
		*rec = again[0]
	}
	out.stays(rec, "it moves on all the time; try again, or park it first")
	return nil
}

// moving is the transition that pins a message to its new definition and leaves everything else as it is.
func (s *Service) moving(m Migration, rec *Record) Transition {
	t := Transition{
		ID: rec.ID, From: rec.Version, State: rec.State, Status: rec.Status, Place: rec.Place, Ext: rec.Ext, Due: rec.Due, Reason: rec.Reason,
		Workflow: m.To,
	}
	t.Entries = []Entry{{Version: rec.Version + 1, State: rec.State, Event: "migrated", By: m.By, At: s.Now(), Note: "from " + m.From + " to " + m.To}}
	return t
}

func (out *Migrated) stays(rec *Record, why string) {
	if len(out.Stayed) < maxStayed {
		out.Stayed = append(out.Stayed, Stayed{rec.ID, rec.State, why})
	}
}
