package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/custody/verify"
)

// Verdicts serves verify.Verdicts.
type Verdicts struct{ db *DB }

// NewVerdicts uses the system of record.
func NewVerdicts(db *DB) *Verdicts { return &Verdicts{db} }

const (
	verdictColumns = "hash, word, chain, address, nonce, key, message, state, attempt, why, source, at"
	recordVerdicts = `INSERT INTO verdicts (` + verdictColumns + `)
		SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::bigint[], $10::text[], $11::text[], $12::bigint[])
		ORDER BY 1 ON CONFLICT (hash) DO NOTHING RETURNING hash` // sorted, so that verifiers which find the same wait for each other in one order
)

// Record keeps verdicts in one statement.
func (v *Verdicts) Record(ctx context.Context, verdicts []verify.Verdict) (fresh []verify.Verdict, err error) {
	var c columns
	var now []verify.Verdict
	given := map[string]bool{}
	for _, one := range verdicts {
		if given[one.Hash] {
			continue // the first one counts
		}
		given[one.Hash] = true
		one.At = time.Now().Truncate(time.Microsecond)
		now = append(now, one)
		c.add(clean(one.Hash), string(one.Word), clean(one.Place.Chain), clean(one.Place.Address), int64(one.Place.Nonce), clean(one.Key), clean(string(one.Step.Message)), clean(one.Step.State),
			int64(one.Attempt), clean(one.Why), one.Source, micros(one.At))
	}
	if c == nil {
		return nil, nil
	}
	err = v.db.update(ctx, "verdicts.record", func() error {
		news, err := rows(ctx, v.db, v.db.pool, pgx.RowTo[string], recordVerdicts, c...)
		is := map[string]bool{}
		for _, hash := range news {
			is[hash] = true
		}
		for _, one := range now {
			if is[clean(one.Hash)] {
				fresh = append(fresh, one)
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return fresh, nil
}

// verdict reads the columns of verdictColumns, after those that are given.
func verdict(row pgx.CollectableRow, before ...any) (one verify.Verdict, err error) {
	var nonce, at int64
	err = row.Scan(append(before, &one.Hash, &one.Word, &one.Place.Chain, &one.Place.Address, &nonce, &one.Key, &one.Step.Message, &one.Step.State, &one.Attempt, &one.Why, &one.Source, &at)...)
	one.Place.Nonce, one.At = uint64(nonce), timeOf(&at).Local()
	return one, err
}

// Good reads the good verdicts of a part of a lane.
func (v *Verdicts) Good(ctx context.Context, key string, from, to uint64) ([]verify.Verdict, error) {
	return rows(ctx, v.db, v.db.pool, func(row pgx.CollectableRow) (verify.Verdict, error) { return verdict(row) },
		"SELECT "+verdictColumns+" FROM verdicts WHERE word = 'good' AND key = $1 AND nonce BETWEEN $2 AND $3 ORDER BY nonce, attempt, seq", clean(key), int64(from), int64(to))
}

// Findings reads what is not good, a page of it.
func (v *Verdicts) Findings(ctx context.Context, after int64, limit int) (some []verify.Verdict, next int64, err error) {
	next = after
	some, err = rows(ctx, v.db, v.db.pool, func(row pgx.CollectableRow) (verify.Verdict, error) { return verdict(row, &next) },
		"SELECT seq, "+verdictColumns+" FROM verdicts WHERE word <> 'good' AND seq > $1 ORDER BY seq LIMIT $2", after, limit)
	return some, next, err
}

const unjudgedSQL = `SELECT * FROM (
	SELECT k.chain, s.raw, s.hash, 0 AS attempt, s.stored FROM signatures s JOIN decisions d ON d.seq = s.decision JOIN keys k ON k.seq = d.key
	WHERE s.stored BETWEEN now() - $1::interval AND now() - $2::interval AND NOT EXISTS (SELECT FROM verdicts v WHERE v.hash = s.hash)
	UNION ALL
	SELECT k.chain, s.raw, s.hash, s.number, s.stored FROM attempt_signatures s JOIN keys k ON k.seq = s.key
	WHERE s.stored BETWEEN now() - $1::interval AND now() - $2::interval AND NOT EXISTS (SELECT FROM verdicts v WHERE v.hash = s.hash)
) AS stored ORDER BY stored LIMIT $3`

// Unjudged reads stored bytes without a verdict.
func (v *Verdicts) Unjudged(ctx context.Context, oldest, youngest time.Duration, limit int) ([]verify.Stored, error) {
	return rows(ctx, v.db, v.db.pool, func(row pgx.CollectableRow) (s verify.Stored, err error) {
		var at time.Time
		err = row.Scan(&s.Chain, &s.Raw, &s.Hash, &s.Attempt, &at)
		return s, err
	}, unjudgedSQL, oldest, youngest, limit)
}
