package sqlite

import (
	"context"
	"encoding/json"

	"zombiezen.com/go/sqlite"

	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
)

// Put keeps a definition.
func (g *Guarantee) Put(ctx context.Context, ref string, source []byte) error {
	return g.db.update(ctx, "guarantee.define", func(conn *sqlite.Conn) error {
		return run(conn, "INSERT INTO definitions (ref, source) VALUES (?, ?) ON CONFLICT DO NOTHING", func(s *sqlite.Stmt) {
			s.BindText(1, ref)
			s.BindBytes(2, source)
		}, nil)
	})
}

// Definition reads a definition.
func (g *Guarantee) Definition(ctx context.Context, ref string) (source []byte, err error) {
	err = g.db.view(ctx, func(conn *sqlite.Conn) error {
		found, err := queryRow(conn, "SELECT source FROM definitions WHERE ref = ?",
			func(s *sqlite.Stmt) { s.BindText(1, ref) },
			func(s *sqlite.Stmt) { source = blob(s, 0) })
		if err == nil && !found {
			err = problem.New(problem.NotFound, "workflow-unknown", "no workflow definition %q is stored", ref)
		}
		return err
	})
	return source, err
}

// References lists the definitions.
func (g *Guarantee) References(ctx context.Context) (refs []string, err error) {
	err = g.db.view(ctx, func(conn *sqlite.Conn) error {
		return run(conn, "SELECT ref FROM definitions ORDER BY ref", nil, func(s *sqlite.Stmt) error {
			refs = append(refs, s.ColumnText(0))
			return nil
		})
	})
	return refs, err
}

// Direct makes an alias the present one.
func (g *Guarantee) Direct(ctx context.Context, a guarantee.Alias) error {
	routes, err := json.Marshal(a.Routes)
	if err != nil {
		return err
	}
	return g.db.update(ctx, "guarantee.direct", func(conn *sqlite.Conn) error {
		return run(conn, "INSERT INTO aliases (name, routes, by, at) VALUES (?, ?, ?, ?)", func(s *sqlite.Stmt) {
			s.BindText(1, a.Name)
			s.BindBytes(2, routes)
			s.BindText(3, a.By)
			s.BindInt64(4, micros(a.At))
		}, nil)
	})
}

// Aliases gives the present ones.
func (g *Guarantee) Aliases(ctx context.Context) (all []guarantee.Alias, err error) {
	err = g.db.view(ctx, func(conn *sqlite.Conn) error {
		return run(conn, "SELECT name, routes, by, at FROM aliases WHERE seq IN (SELECT max(seq) FROM aliases GROUP BY name) ORDER BY name", nil, func(s *sqlite.Stmt) error {
			a := guarantee.Alias{Name: s.ColumnText(0), By: s.ColumnText(2), At: columnTime(s, 3)}
			if err := json.Unmarshal(blob(s, 1), &a.Routes); err != nil {
				return problem.New(problem.Internal, "storage-corrupt", "the alias of %s cannot be read: %w", a.Name, err)
			}
			all = append(all, a)
			return nil
		})
	})
	return all, err
}

// pin moves a live message to another definition.
func pin(conn *sqlite.Conn, id message.ID, ref string) error {
	return run(conn, "UPDATE messages SET workflow = ? WHERE id = ?", func(s *sqlite.Stmt) {
		s.BindText(1, ref)
		s.BindText(2, string(id))
	}, nil)
}

// pinnedTo gives the definition that a live message was moved to, "" for the one that it was accepted with.
func pinnedTo(conn *sqlite.Conn, id message.ID) (ref string, err error) {
	_, err = queryRow(conn, "SELECT workflow FROM messages WHERE id = ?",
		func(s *sqlite.Stmt) { s.BindText(1, string(id)) },
		func(s *sqlite.Stmt) { ref = s.ColumnText(0) })
	return ref, err
}

// Pinned lists live messages that are pinned to a definition.
func (g *Guarantee) Pinned(ctx context.Context, ref string, after message.ID, limit int) (ids []message.ID, err error) {
	err = g.db.view(ctx, func(conn *sqlite.Conn) error {
		return run(conn, "SELECT m.id FROM messages m JOIN originals o ON o.id = m.id WHERE m.id > ? AND coalesce(m.workflow, o.workflow) = ? ORDER BY m.id LIMIT ?", func(s *sqlite.Stmt) {
			s.BindText(1, string(after))
			s.BindText(2, ref)
			s.BindInt64(3, int64(limit))
		}, func(s *sqlite.Stmt) error {
			ids = append(ids, message.ID(s.ColumnText(0)))
			return nil
		})
	})
	return ids, err
}
