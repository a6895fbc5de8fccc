package sqlite

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math"
	"sort"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/reference"
)

// A list is planned by the tallies: their numbers are what a database's optimiser would have to guess.
const (
	manyTallies = 1000   // from here on one scan by time costs less than a seek in each tally
	fewMessages = 10_000 // up to here looking at all of the matching tallies costs less than at all of a busy wallet
)

// Each is a walk down one index, newest first.
const (
	walkAll    = "SELECT accepted, n, tally, wallet FROM messages WHERE" + walkRange
	walkTally  = "SELECT accepted, n, tally, wallet FROM messages WHERE tally = ?4 AND" + walkRange
	walkWallet = "SELECT accepted, n, tally, wallet FROM messages WHERE wallet = ?4 AND wallet <> '' AND" + walkRange
	walkRange  = " accepted >= ?1 AND accepted <= ?2 AND (accepted < ?2 OR n < ?3) ORDER BY accepted DESC, n DESC"
)

// place is where a message stands in the order of lists.
type place struct{ accepted, n int64 }

func (p place) before(q place) bool {
	return p.accepted < q.accepted || p.accepted == q.accepted && p.n < q.n
}

// search is one List under way.
type search struct {
	conn    *sqlite.Conn
	query   reference.Query
	oldest  int64 // accepted at or after it
	below   place // and before this
	size    int
	tallies map[int64]int64 // those that match, with their numbers; nil when all do
	found   []place         // the newest so far, newest first, at most size
}

// List answers a query from one snapshot.
func (r *Reference) List(ctx context.Context, q reference.Query) (page reference.Page, err error) {
	below, err := parseCursor(q.Cursor)
	if err != nil {
		return page, err
	}
	if until := (place{accepted: q.To.UnixMicro()}); !q.To.IsZero() && until.before(below) {
		below = until
	}
	s := &search{query: q, oldest: math.MinInt64, below: below, size: q.Size() + 1}
	if !q.From.IsZero() {
		s.oldest = q.From.UnixMicro()
	}
	err = r.db.view(ctx, func(conn *sqlite.Conn) error {
		s.conn = conn
		if err := s.collect(); err != nil {
			return err
		}
		page, err = s.page()
		return err
	})
	return page, err
}

// collect finds the places of the newest rows that match.
func (s *search) collect() error {
	if err := s.match(); err != nil {
		return err
	}
	total := int64(0)
	for _, number := range s.tallies {
		total += number
	}
	switch {
	case s.tallies != nil && total == 0:
		return nil
	case s.query.Wallet != "" && (s.tallies == nil || total > fewMessages || len(s.tallies) > manyTallies):
		return s.walk(walkWallet, func(stmt *sqlite.Stmt) { stmt.BindText(4, s.query.Wallet) })
	case s.tallies == nil || len(s.tallies) > manyTallies:
		return s.walk(walkAll, nil)
	}
	for tally := range s.tallies {
		if err := s.walk(walkTally, func(stmt *sqlite.Stmt) { stmt.BindInt64(4, tally) }); err != nil {
			return err
		}
	}
	return nil
}

// match reads the tallies that the query asks for.
func (s *search) match() error {
	q := s.query
	if q.Client == "" && q.Type == "" && q.State == "" && q.Status == "" {
		return nil
	}
	s.tallies = map[int64]int64{}
	return run(s.conn, `SELECT id, number FROM tallies WHERE number > 0 AND (?1 = '' OR client = ?1) AND (?2 = '' OR type = ?2)
AND (?3 = '' OR state = ?3) AND (?4 = '' OR status = ?4)`, func(stmt *sqlite.Stmt) {
		stmt.BindText(1, q.Client)
		stmt.BindText(2, q.Type)
		stmt.BindText(3, q.State)
		stmt.BindText(4, string(q.Status))
	}, func(stmt *sqlite.Stmt) error {
		s.tallies[stmt.ColumnInt64(0)] = stmt.ColumnInt64(1)
		return nil
	})
}

var errEnough = errors.New("enough rows")

// walk goes down an index and keeps what matches, until it has come to older rows than are wanted.
func (s *search) walk(query string, bind func(*sqlite.Stmt)) error {
	err := run(s.conn, query, func(stmt *sqlite.Stmt) {
		stmt.BindInt64(1, s.oldest)
		stmt.BindInt64(2, s.below.accepted)
		stmt.BindInt64(3, s.below.n)
		if bind != nil {
			bind(stmt)
		}
	}, func(stmt *sqlite.Stmt) error {
		at := place{stmt.ColumnInt64(0), stmt.ColumnInt64(1)}
		if len(s.found) == s.size && at.before(s.found[s.size-1]) {
			return errEnough
		}
		if _, wanted := s.tallies[stmt.ColumnInt64(2)]; s.tallies != nil && !wanted {
			return nil
		}
		if s.query.Wallet == "" || s.query.Wallet == stmt.ColumnText(3) {
			s.keep(at)
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

func (s *search) keep(at place) {
	i := sort.Search(len(s.found), func(i int) bool { return s.found[i].before(at) })
	if len(s.found) < s.size {
		s.found = append(s.found, place{})
	}
	copy(s.found[i+1:], s.found[i:])
	s.found[i] = at
}

// page reads the rows at the places found; the one too many tells that there is a next page.
func (s *search) page() (page reference.Page, err error) {
	if len(s.found) == s.size {
		s.found = s.found[:s.size-1]
		page.Next = formatCursor(s.found[len(s.found)-1])
	}
	for _, at := range s.found {
		if _, err := queryRow(s.conn, selectMessage+" WHERE m.n = ?", func(stmt *sqlite.Stmt) { stmt.BindInt64(1, at.n) },
			func(stmt *sqlite.Stmt) { page.Rows = append(page.Rows, readMessage(stmt)) }); err != nil {
			return page, err
		}
	}
	return page, nil
}

func formatCursor(p place) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(p.accepted))
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint64(b, uint64(p.n)))
}

func parseCursor(s string) (place, error) {
	if s == "" {
		return place{math.MaxInt64, math.MaxInt64}, nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != 16 {
		return place{}, problem.New(problem.Invalid, "cursor-malformed", "the cursor is not one that a list has given; begin again without a cursor")
	}
	return place{int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint64(b[8:]))}, nil
}

func readMessage(s *sqlite.Stmt) reference.Row {
	return reference.Row{
		ID: message.ID(s.ColumnText(0)), Version: s.ColumnInt64(1), State: s.ColumnText(2), Status: status(s, 3),
		Reason: s.ColumnText(4), Archived: s.ColumnBool(5),
		Accepted: time.UnixMicro(s.ColumnInt64(6)).UTC(), Updated: time.UnixMicro(s.ColumnInt64(7)).UTC(),
		Attributes: guarantee.Attributes{
			Client: s.ColumnText(8), Type: s.ColumnText(9), Chain: s.ColumnText(10), Signer: s.ColumnText(11),
			Wallet: s.ColumnText(12), To: s.ColumnText(13), Asset: s.ColumnText(14), Amount: s.ColumnText(15),
		},
	}
}

func status(s *sqlite.Stmt, column int) guarantee.Status {
	return guarantee.Status(s.ColumnText(column))
}
