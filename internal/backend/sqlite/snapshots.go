package sqlite

import (
	"context"

	"zombiezen.com/go/sqlite"

	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
)

const (
	oneLive    = "SELECT m.id, m.version, m.state, m.status, m.reason, 0, o.accepted, m.updated, o.attributes FROM messages m JOIN originals o ON o.id = m.id WHERE m.id = ?"
	oneArchive = "SELECT id, version, state, status, reason, 1, accepted, updated, attributes FROM archive WHERE id = ?"
)

// Snapshots reads messages by id, live or archived: with Scan it makes Guarantee a reference.Source.
func (g *Guarantee) Snapshots(ctx context.Context, ids []message.ID) ([]guarantee.Snapshot, error) {
	found := make([]guarantee.Snapshot, 0, len(ids))
	one := func(conn *sqlite.Conn, query string, id message.ID) error {
		return run(conn, query, func(s *sqlite.Stmt) { s.BindText(1, string(id)) }, func(s *sqlite.Stmt) error {
			snap, err := snapshot(s, 0)
			found = append(found, snap)
			return err
		})
	}
	err := g.db.view(ctx, func(conn *sqlite.Conn) error {
		for _, id := range ids {
			before := len(found)
			if err := one(conn, oneLive, id); err != nil || len(found) > before {
				if err != nil {
					return err
				}
				continue
			}
			if err := one(conn, oneArchive, id); err != nil {
				return err
			}
		}
		return nil
	})
	return found, err
}
