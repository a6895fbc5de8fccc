package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/reference"
)

// Reference is reference.Store and reference.Repairs, beside the system of record. Its commits wait for no disk: what a crash
// of the server takes back is applied again, as the position is taken back with it. Writers, also those of other processes,
// take turns, so that the numbers of the tallies agree with the rows at every moment.
type Reference struct{ db *DB }

// NewReference serves the ports from db.
func NewReference(db *DB) *Reference { return &Reference{db} }

const (
	turnSQL    = "SELECT pg_advisory_xact_lock(1635148140, -1)"
	talliesSQL = `INSERT INTO view_tallies (client, type, state, status) SELECT DISTINCT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
		EXCEPT SELECT client, type, state, status FROM view_tallies ORDER BY 1, 2, 3, 4 ON CONFLICT DO NOTHING`
	// What never changes in a message is left alone unless $16 says to replace it; an older version then counts, too.
	applySQL = `WITH r AS (
	SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::bool[], $9::bigint[], $10::bigint[],
		$11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $17::text[])
		AS r(client, type, state, status, id, version, reason, archived, accepted, updated, chain, signer, wallet, recipient, asset, amount)
), changed AS MATERIALIZED (
	SELECT r.*, t.id AS tally, old.n AS n, old.tally AS former FROM r
	JOIN view_tallies t ON t.client = r.client AND t.type = r.type AND t.state = r.state AND t.status = r.status
	LEFT JOIN view_messages old ON old.id = r.id WHERE old.n IS NULL OR $16 OR r.version > old.version
), added AS (
	INSERT INTO view_messages (id, version, tally, reason, archived, accepted, updated, chain, signer, wallet, recipient, asset, amount)
	SELECT id, version, tally, reason, archived, accepted, updated, chain, signer, wallet, recipient, asset, amount FROM changed WHERE n IS NULL
), moved AS (
	UPDATE view_messages m SET version = c.version, tally = c.tally, reason = c.reason, archived = c.archived, updated = c.updated
	FROM changed c WHERE m.n = c.n AND NOT $16
), replaced AS (
	UPDATE view_messages m SET version = c.version, tally = c.tally, reason = c.reason, archived = c.archived, updated = c.updated, accepted = c.accepted,
		chain = c.chain, signer = c.signer, wallet = c.wallet, recipient = c.recipient, asset = c.asset, amount = c.amount
	FROM changed c WHERE m.n = c.n AND $16
)
UPDATE view_tallies t SET number = t.number + d.more FROM (
	SELECT tally, sum(one) AS more FROM (SELECT tally, 1 AS one FROM changed UNION ALL SELECT former, -1 FROM changed WHERE former IS NOT NULL) moves
	GROUP BY tally) d WHERE t.id = d.tally AND d.more <> 0`
	removeSQL = `WITH gone AS (DELETE FROM view_messages m USING unnest($1::text[]) AS t(id) WHERE m.id = t.id RETURNING m.tally)
		UPDATE view_tallies t SET number = t.number - g.less FROM (SELECT tally, count(*) AS less FROM gone GROUP BY tally) g WHERE t.id = g.tally`
	// A damaged tally must not hide its row from verify: therefore LEFT.
	viewSQL = `SELECT m.id, m.version, coalesce(t.state, ''), coalesce(t.status, ''), m.reason, m.archived, m.accepted, m.updated, coalesce(t.client, ''), coalesce(t.type, ''),
		m.chain, m.signer, m.wallet, m.recipient, m.asset, m.amount, m.n FROM view_messages m LEFT JOIN view_tallies t ON t.id = m.tally `
)

// viewed is a row with its place among those accepted at the same time.
type viewed struct {
	reference.Row
	n int64
}

// view reads the columns of viewSQL.
func view(row pgx.CollectableRow) (v viewed, err error) {
	var accepted, updated int64
	a := &v.Attributes
	err = row.Scan(&v.ID, &v.Version, &v.State, &v.Status, &v.Reason, &v.Archived, &accepted, &updated, &a.Client, &a.Type,
		&a.Chain, &a.Signer, &a.Wallet, &a.To, &a.Asset, &a.Amount, &v.n)
	v.Accepted, v.Updated = time.UnixMicro(accepted).UTC(), time.UnixMicro(updated).UTC()
	return v, err
}

func shown(list []viewed) []reference.Row {
	page := make([]reference.Row, len(list))
	for i := range list {
		page[i] = list[i].Row
	}
	return page
}

// Apply upserts rows and moves the position; an older version changes nothing (I19).
func (r *Reference) Apply(ctx context.Context, rows []reference.Row, seq int64) error {
	return r.write(ctx, "reference.apply", func(b *pgx.Batch) {
		apply(b, rows, false)
		if seq != reference.Stay {
			b.Queue("UPDATE view_position SET seq = $1", seq)
		}
	})
}

// Replace sets rows and removes others, whatever their version.
func (r *Reference) Replace(ctx context.Context, rows []reference.Row, remove []message.ID) error {
	return r.write(ctx, "reference.replace", func(b *pgx.Batch) {
		b.Queue(removeSQL, texts(remove))
		apply(b, rows, true)
	})
}

// write sends statements in one round trip, as one transaction, when it is this writer's turn.
func (r *Reference) write(ctx context.Context, name string, fill func(*pgx.Batch)) error {
	return r.db.update(ctx, name, func() error {
		var b pgx.Batch
		b.Queue(turnSQL)
		fill(&b)
		return r.db.lazy.SendBatch(ctx, &b).Close()
	})
}

func apply(b *pgx.Batch, rows []reference.Row, replace bool) {
	var c columns
	for _, row := range newest(rows, replace) {
		a := &row.Attributes
		c.add(clean(a.Client), clean(a.Type), clean(row.State), string(row.Status), clean(string(row.ID)), row.Version, clean(row.Reason), row.Archived,
			micros(row.Accepted), micros(row.Updated), clean(a.Chain), clean(a.Signer), clean(a.Wallet), clean(a.To), clean(a.Asset), clean(a.Amount))
	}
	if c == nil {
		return
	}
	b.Queue(talliesSQL, c[:4]...)
	last := len(c) - 1
	b.Queue(applySQL, append(append(append([]any{}, c[:last]...), replace), c[last])...)
}

// newest leaves one row of each message: a statement can change a row once. It is the newest, or the last to replace with.
func newest(rows []reference.Row, last bool) []*guarantee.Snapshot {
	at := make(map[message.ID]int, len(rows))
	kept := make([]*guarantee.Snapshot, 0, len(rows))
	for i := range rows {
		row := &rows[i]
		j, seen := at[row.ID]
		switch {
		case !seen:
			at[row.ID] = len(kept)
			kept = append(kept, row)
		case last || row.Version > kept[j].Version:
			kept[j] = row
		}
	}
	return kept
}

// Position is the last seq applied.
func (r *Reference) Position(ctx context.Context) (seq int64, err error) {
	err = r.db.lazy.QueryRow(ctx, "SELECT seq FROM view_position").Scan(&seq)
	return seq, r.db.describe(err)
}

// Counts sums the tallies.
func (r *Reference) Counts(ctx context.Context, client string) ([]reference.Count, error) {
	return rows(ctx, r.db, r.db.lazy, pgx.RowToStructByPos[reference.Count], `SELECT type, state, status, sum(number)::bigint FROM view_tallies
		WHERE number > 0 AND ($1 = '' OR client = $1) GROUP BY type, state, status ORDER BY type, state, status`, clean(client))
}

// Walk gives rows by id.
func (r *Reference) Walk(ctx context.Context, after string, limit int) ([]reference.Row, error) {
	list, err := rows(ctx, r.db, r.db.lazy, view, viewSQL+"WHERE m.id > $1 ORDER BY m.id LIMIT $2", clean(after), limit)
	return shown(list), err
}

// Find reads rows by id, in one snapshot.
func (r *Reference) Find(ctx context.Context, ids []message.ID) ([]reference.Row, error) {
	list, err := rows(ctx, r.db, r.db.lazy, view, viewSQL+"JOIN unnest($1::text[]) AS i(id) ON i.id = m.id", texts(ids))
	return shown(list), err
}

// Recount compares the tallies with the rows, in one snapshot.
func (r *Reference) Recount(ctx context.Context, repair bool) (wrong int64, err error) {
	const actual = "(SELECT count(*) FROM view_messages m WHERE m.tally = t.id)"
	const count = "SELECT count(*) FROM view_tallies t WHERE number <> " + actual
	ctx = unhurried(ctx)
	if err := r.db.lazy.QueryRow(ctx, count).Scan(&wrong); err != nil || wrong == 0 || !repair {
		return wrong, r.db.describe(err)
	}
	err = r.db.update(ctx, "reference.recount", func() error {
		return pgx.BeginFunc(ctx, r.db.lazy, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, turnSQL); err != nil {
				return err
			}
			if err := tx.QueryRow(ctx, count).Scan(&wrong); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "UPDATE view_tallies t SET number = "+actual+" WHERE number <> "+actual)
			return err
		})
	})
	return wrong, err
}
