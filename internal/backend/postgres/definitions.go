package postgres

import (
	"context"
	"encoding/json"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
)

// Put keeps a definition.
func (g *Guarantee) Put(ctx context.Context, ref string, source []byte) error {
	return g.db.update(ctx, "guarantee.define", func() error {
		_, err := g.db.pool.Exec(ctx, "INSERT INTO definitions (ref, source) VALUES ($1, $2) ON CONFLICT DO NOTHING", ref, source)
		return err
	})
}

// Definition reads a definition.
func (g *Guarantee) Definition(ctx context.Context, ref string) ([]byte, error) {
	source, found, err := one(ctx, g.db, g.db.pool, pgx.RowTo[[]byte], "SELECT source FROM definitions WHERE ref = $1", clean(ref))
	if err == nil && !found {
		err = problem.New(problem.NotFound, "workflow-unknown", "no workflow definition %q is stored", ref)
	}
	return source, err
}

// References lists the definitions.
func (g *Guarantee) References(ctx context.Context) ([]string, error) {
	return rows(ctx, g.db, g.db.pool, pgx.RowTo[string], "SELECT ref FROM definitions ORDER BY ref")
}

// Direct makes an alias the present one.
func (g *Guarantee) Direct(ctx context.Context, a guarantee.Alias) error {
	routes, err := json.Marshal(a.Routes)
	if err != nil {
		return err
	}
	return g.db.update(ctx, "guarantee.direct", func() error {
		_, err := g.db.pool.Exec(ctx, "INSERT INTO aliases (name, routes, by, at) VALUES ($1, $2, $3, $4)", a.Name, routes, clean(a.By), micros(a.At))
		return err
	})
}

// Aliases gives the present ones.
func (g *Guarantee) Aliases(ctx context.Context) ([]guarantee.Alias, error) {
	return rows(ctx, g.db, g.db.pool, func(row pgx.CollectableRow) (a guarantee.Alias, err error) {
		var routes []byte
		var at int64
		if err := row.Scan(&a.Name, &routes, &a.By, &at); err != nil {
			return a, err
		}
		a.At = timeOf(&at)
		if err := json.Unmarshal(routes, &a.Routes); err != nil {
			return a, problem.New(problem.Internal, "storage-corrupt", "the alias of %s cannot be read: %w", a.Name, err)
		}
		return a, nil
	}, "SELECT DISTINCT ON (name) name, routes, by, at FROM aliases ORDER BY name, seq DESC")
}

const (
	// pinnedTo is the definition of a message o: the one that it was last moved to, or else the one that it was accepted with.
	pinnedTo  = "coalesce((SELECT g.workflow FROM migrations g WHERE g.id = o.id ORDER BY g.version DESC LIMIT 1), o.workflow)"
	pinSQL    = "INSERT INTO migrations (id, version, workflow) VALUES ($1, $2, $3)"
	pinnedSQL = "SELECT m.id FROM messages m JOIN originals o ON o.id = m.id WHERE m.id > $1 AND " + pinnedTo + " = $2 ORDER BY m.id LIMIT $3"
)

// movePins writes which definitions applied transitions moved their messages to.
func movePins(b *pgx.Batch, ts []guarantee.Transition, w wave, outcomes []outcome) {
	for _, n := range w.places {
		if t := &ts[n]; outcomes[n] == applied && t.Workflow != "" {
			b.Queue(pinSQL, string(t.ID), t.From+int64(len(t.Entries)), clean(t.Workflow))
		}
	}
}

// Pinned lists live messages that are pinned to a definition.
func (g *Guarantee) Pinned(ctx context.Context, ref string, after message.ID, limit int) ([]message.ID, error) {
	return rows(ctx, g.db, g.db.pool, pgx.RowTo[message.ID], pinnedSQL, clean(string(after)), clean(ref), limit)
}
