package sqlite

import (
	"zombiezen.com/go/sqlite"

	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/reference"
)

// rowBatch is one Apply or Replace under way. It keeps the numbers of the tallies by itself: a trigger would do it as well, and
// double the cost of a row, because SQLite then journals each page for each statement.
type rowBatch struct {
	conn    *sqlite.Conn
	tallies map[group]int64 // ids; kept for the batch only, because a rollback takes new ones back
	moved   map[int64]int64 // what flush adds to the number of each tally
}

// group is what a tally counts.
type group struct{ client, kind, state, status string }

func newBatch(conn *sqlite.Conn) *rowBatch {
	return &rowBatch{conn: conn, tallies: map[group]int64{}, moved: map[int64]int64{}}
}

// before is what the file holds of a message; n is 0 when it does not.
type before struct{ n, version, tally int64 }

func (b *rowBatch) before(id message.ID) (old before, err error) {
	_, err = queryRow(b.conn, messageBefore, func(s *sqlite.Stmt) { s.BindText(1, string(id)) },
		func(s *sqlite.Stmt) { old = before{s.ColumnInt64(0), s.ColumnInt64(1), s.ColumnInt64(2)} })
	return old, err
}

func (b *rowBatch) apply(row *reference.Row) error {
	old, err := b.before(row.ID)
	if err != nil || old.n != 0 && row.Version <= old.version {
		return err
	}
	return b.put(old, row, moveMessage)
}

func (b *rowBatch) replace(row *reference.Row) error {
	old, err := b.before(row.ID)
	if err != nil {
		return err
	}
	return b.put(old, row, replaceMessage)
}

func (b *rowBatch) remove(id message.ID) error {
	old, err := b.before(id)
	if err != nil || old.n == 0 {
		return err
	}
	b.moved[old.tally]--
	return run(b.conn, "DELETE FROM messages WHERE n = ?", func(s *sqlite.Stmt) { s.BindInt64(1, old.n) }, nil)
}

// put inserts the row, or updates the one that is there.
func (b *rowBatch) put(old before, row *reference.Row, update string) error {
	tally, err := b.tally(row)
	if err != nil {
		return err
	}
	b.moved[tally]++
	if old.n == 0 {
		return run(b.conn, insertMessage, func(s *sqlite.Stmt) {
			s.BindText(1, string(row.ID))
			bindChanging(s, row, tally)
			bindFixed(s, row)
		}, nil)
	}
	b.moved[old.tally]--
	return run(b.conn, update, func(s *sqlite.Stmt) {
		s.BindInt64(1, old.n)
		bindChanging(s, row, tally)
		if update == replaceMessage {
			bindFixed(s, row)
		}
	}, nil)
}

func bindChanging(s *sqlite.Stmt, row *reference.Row, tally int64) {
	s.BindInt64(2, row.Version)
	s.BindInt64(3, tally)
	s.BindText(4, row.Reason)
	s.BindBool(5, row.Archived)
	s.BindInt64(7, micros(row.Updated))
}

func bindFixed(s *sqlite.Stmt, row *reference.Row) {
	s.BindInt64(6, micros(row.Accepted))
	a := &row.Attributes
	for i, text := range []string{a.Chain, a.Signer, a.Wallet, a.To, a.Asset, a.Amount} {
		s.BindText(8+i, text)
	}
}

// tally finds or makes the tally of a row.
func (b *rowBatch) tally(row *reference.Row) (id int64, err error) {
	of := group{row.Attributes.Client, row.Attributes.Type, row.State, string(row.Status)}
	if id, known := b.tallies[of]; known {
		return id, nil
	}
	bind := func(s *sqlite.Stmt) {
		for i, text := range []string{of.client, of.kind, of.state, of.status} {
			s.BindText(i+1, text)
		}
	}
	if err := run(b.conn, "INSERT INTO tallies (client, type, state, status) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", bind, nil); err != nil {
		return 0, err
	}
	_, err = queryRow(b.conn, "SELECT id FROM tallies WHERE client = ? AND type = ? AND state = ? AND status = ?", bind,
		func(s *sqlite.Stmt) { id = s.ColumnInt64(0) })
	b.tallies[of] = id
	return id, err
}

// flush brings the numbers up to date, in the transaction of the rows.
func (b *rowBatch) flush() error {
	for tally, number := range b.moved {
		if number == 0 {
			continue
		}
		if err := run(b.conn, "UPDATE tallies SET number = number + ? WHERE id = ?", func(s *sqlite.Stmt) {
			s.BindInt64(1, number)
			s.BindInt64(2, tally)
		}, nil); err != nil {
			return err
		}
	}
	return nil
}
