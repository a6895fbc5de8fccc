package postgres

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"math"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/reference"
)

// A list is planned by the tallies: their numbers are what the planner would have to guess. See the constants of the same
// names in the SQLite backend; the trade-off is the same.
const (
	manyTallies = 1000   // from here on one scan by time costs less than a seek in each tally
	fewMessages = 10_000 // up to here looking at all of the matching tallies costs less than at all of a busy wallet
)

const (
	inRange  = "m.accepted >= $1 AND (m.accepted, m.n) < ($2, $3)"
	newFirst = " ORDER BY m.accepted DESC, m.n DESC LIMIT $4"
	// Each is a walk down one index, newest first; the last one is a walk down the index in each tally.
	walkAll     = viewSQL + "WHERE " + inRange + " AND ($5::bigint[] IS NULL OR m.tally = ANY ($5)) AND ($6 = '' OR m.wallet = $6)" + newFirst
	walkWallet  = viewSQL + "WHERE m.wallet = $6 AND m.wallet <> '' AND " + inRange + " AND ($5::bigint[] IS NULL OR m.tally = ANY ($5))" + newFirst
	walkTallies = viewSQL + "JOIN (SELECT w.n FROM unnest($5::bigint[]) AS g(tally), LATERAL (SELECT m.n, m.accepted FROM view_messages m WHERE m.tally = g.tally AND " + inRange +
		" AND ($6 = '' OR m.wallet = $6)" + newFirst + ") w ORDER BY w.accepted DESC, w.n DESC LIMIT $4) found ON found.n = m.n ORDER BY m.accepted DESC, m.n DESC"
)

// place is where a message stands in the order of lists.
type place struct{ accepted, n int64 }

// List answers a query from one snapshot.
func (r *Reference) List(ctx context.Context, q reference.Query) (page reference.Page, err error) {
	below, err := parseCursor(q.Cursor)
	if err != nil {
		return page, err
	}
	if !q.To.IsZero() && q.To.UnixMicro() <= below.accepted {
		below = place{accepted: q.To.UnixMicro(), n: math.MinInt64}
	}
	oldest := int64(math.MinInt64)
	if !q.From.IsZero() {
		oldest = q.From.UnixMicro()
	}
	var found []viewed
	err = pgx.BeginTxFunc(ctx, r.db.lazy, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		walk, tallies, err := r.plan(ctx, tx, q)
		if err == nil && walk != "" {
			found, err = rows(ctx, r.db, tx, view, walk, oldest, below.accepted, below.n, q.Size()+1, tallies, clean(q.Wallet))
		}
		return err
	})
	if err != nil {
		return page, r.db.describe(err)
	}
	if len(found) > q.Size() { // the one too many tells that there is a next page
		found = found[:q.Size()]
		last := found[len(found)-1]
		page.Next = formatCursor(place{last.Accepted.UnixMicro(), last.n})
	}
	if len(found) > 0 {
		page.Rows = shown(found)
	}
	return page, nil
}

// plan chooses the walk, and the tallies that match: nil when all do. Without a walk there is nothing to find.
func (r *Reference) plan(ctx context.Context, tx pgx.Tx, q reference.Query) (walk string, tallies []int64, err error) {
	if q.Client == "" && q.Type == "" && q.State == "" && q.Status == "" {
		if q.Wallet != "" {
			return walkWallet, nil, nil
		}
		return walkAll, nil, nil
	}
	type tally struct{ ID, Number int64 }
	matching, err := rows(ctx, r.db, tx, pgx.RowToStructByPos[tally], `SELECT id, number FROM view_tallies WHERE number > 0 AND ($1 = '' OR client = $1) AND ($2 = '' OR type = $2)
		AND ($3 = '' OR state = $3) AND ($4 = '' OR status = $4)`, clean(q.Client), clean(q.Type), clean(q.State), clean(string(q.Status)))
	total := int64(0)
	for _, t := range matching {
		tallies, total = append(tallies, t.ID), total+t.Number
	}
	switch {
	case err != nil || total == 0:
		return "", nil, err
	case q.Wallet != "" && (total > fewMessages || len(tallies) > manyTallies):
		return walkWallet, tallies, nil
	case len(tallies) > manyTallies:
		return walkAll, tallies, nil
	}
	return walkTallies, tallies, nil
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
