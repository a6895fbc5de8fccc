package sqlite

import (
	"zombiezen.com/go/sqlite"

	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
)

// The parts of places: rows of their own, so that a commit writes those that changed.

const (
	putPart       = "INSERT INTO parts (id, key, data) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET data = excluded.data"
	removePart    = "DELETE FROM parts WHERE id = ? AND key = ?"
	removeParts   = "DELETE FROM parts WHERE id = ? AND key >= ? AND key < ?"
	removeAllPart = "DELETE FROM parts WHERE id = ?"
)

// moveParts writes the parts that a transition changes.
func moveParts(conn *sqlite.Conn, t *guarantee.Transition) error {
	if t.Status.Terminal() {
		return run(conn, removeAllPart, func(s *sqlite.Stmt) { s.BindText(1, string(t.ID)) }, nil)
	}
	for i := range t.Parts {
		if err := movePart(conn, t.ID, &t.Parts[i]); err != nil {
			return err
		}
	}
	return nil
}

func movePart(conn *sqlite.Conn, id message.ID, p *guarantee.Part) error {
	query := putPart
	switch {
	case p.Data == nil && p.Branch():
		query = removeParts
	case p.Data == nil:
		query = removePart
	}
	return run(conn, query, func(s *sqlite.Stmt) {
		s.BindText(1, string(id))
		s.BindText(2, p.Key)
		switch query {
		case putPart:
			s.BindBytes(3, p.Data)
		case removeParts:
			s.BindText(3, p.Key[:len(p.Key)-1]+"0") // the byte after the slash
		}
	}, nil)
}

// readParts gives what is stored of a live message's place beside it.
func readParts(conn *sqlite.Conn, id message.ID) (parts []guarantee.Part, err error) {
	err = run(conn, "SELECT key, data FROM parts WHERE id = ? ORDER BY key",
		func(s *sqlite.Stmt) { s.BindText(1, string(id)) },
		func(s *sqlite.Stmt) error {
			parts = append(parts, guarantee.Part{Key: s.ColumnText(0), Data: blob(s, 1)})
			return nil
		})
	return parts, err
}
