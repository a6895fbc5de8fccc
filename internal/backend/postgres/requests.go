package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/problem"
)

// Requests serves signer.Requests. The requests themselves only grow; those that are not answered have a row in signing_open,
// whose seq is in the order of commits like that of the outbox.
type Requests struct{ db *DB }

// NewRequests uses the system of record.
func NewRequests(db *DB) *Requests { return &Requests{db} }

const putRequestsSQL = `WITH t AS (
	SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bytea[]) WITH ORDINALITY AS t(message, state, key, pool, until, tx, n)
), put AS (
	INSERT INTO signing_requests (message, state, number, key, pool, until, tx)
	SELECT t.message, t.state, coalesce(last.number, 0) + 1, t.key, t.pool, t.until, t.tx FROM t LEFT JOIN LATERAL (
		SELECT q.number, r.number IS NOT NULL AS refused FROM signing_requests q LEFT JOIN signing_refusals r USING (message, state, number)
		WHERE q.message = t.message AND q.state = t.state ORDER BY q.number DESC LIMIT 1) last ON true
	WHERE coalesce(last.refused, true) ORDER BY t.n
	ON CONFLICT DO NOTHING RETURNING message, state, key, pool
)
INSERT INTO signing_open (seq, message, state, key, pool, at)
SELECT (pg_current_xact_id()::text::bigint << 20) + row_number() OVER (), message, state, key, pool, $7 FROM put`

// Put commits requests, and lists them, in one statement.
func (r *Requests) Put(ctx context.Context, requests []signer.Request) error {
	if len(requests) == 0 {
		return nil
	}
	var c columns
	for _, q := range requests {
		tx, err := json.Marshal(q.Tx)
		if err != nil {
			return fmt.Errorf("encode the transaction of %s at %s: %w", q.Step.Message, q.Step.State, err)
		}
		c.add(string(q.Step.Message), q.Step.State, q.Key, q.Pool, until(q.Until), tx)
	}
	err := r.db.update(ctx, "requests.put", func() error {
		_, err := r.db.pool.Exec(ctx, putRequestsSQL, append(c, micros(time.Now()))...)
		return err
	})
	if err == nil {
		r.db.announce()
	}
	return err
}

func until(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return micros(t)
}

const findRequestsSQL = `SELECT q.message, q.state, q.number, q.key, q.pool, q.until, q.tx, r.kind, r.code, r.detail, coalesce(r.told, false)
	FROM unnest($1::text[], $2::text[]) AS t(message, state), LATERAL (
		SELECT * FROM signing_requests q WHERE q.message = t.message AND q.state = t.state ORDER BY q.number DESC LIMIT 1) q
	LEFT JOIN LATERAL (SELECT * FROM signing_refusals r WHERE r.message = q.message AND r.state = q.state AND r.number = q.number LIMIT 1) r ON true`

// Find reads the newest request of each step.
func (r *Requests) Find(ctx context.Context, steps []signer.Step) (map[signer.Step]signer.Standing, error) {
	messages, states := stepColumns(steps)
	list, err := rows(ctx, r.db, r.db.pool, requestRow, findRequestsSQL, messages, states)
	found := make(map[signer.Step]signer.Standing, len(list))
	for _, one := range list {
		found[one.Step] = one
	}
	return found, err
}

func stepColumns(steps []signer.Step) (messages, states []string) {
	messages, states = make([]string, len(steps)), make([]string, len(steps))
	for i, step := range steps {
		messages[i], states[i] = clean(string(step.Message)), clean(step.State)
	}
	return messages, states
}

// requestRow reads the columns of findRequestsSQL.
func requestRow(row pgx.CollectableRow) (s signer.Standing, err error) {
	var tx []byte
	var until int64
	var kind, code, detail *string
	if err := row.Scan(&s.Step.Message, &s.Step.State, &s.Number, &s.Key, &s.Pool, &until, &tx, &kind, &code, &detail, &s.Told); err != nil {
		return s, err
	}
	if until != 0 {
		s.Until = time.UnixMicro(until)
	}
	if kind != nil {
		s.Refused = &problem.Error{Kind: problem.KindNamed(*kind), Code: *code, Detail: *detail}
	}
	if err := json.Unmarshal(tx, &s.Tx); err != nil {
		return s, fmt.Errorf("read the transaction that %s asks to sign at %s: %w", s.Step.Message, s.Step.State, err)
	}
	return s, nil
}

// refuseSQL is run under the lock that decisions take together; see decisions_not_refused in schema/.
const refuseSQL = `WITH t AS (
	SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[]) AS t(message, state, number, kind, code, detail)
), kept AS (
	INSERT INTO signing_refusals (message, state, number, kind, code, detail)
	SELECT t.* FROM t JOIN signing_requests q USING (message, state, number)
	WHERE NOT EXISTS (SELECT FROM decisions d WHERE d.message = t.message AND d.state = t.state)
		AND NOT EXISTS (SELECT FROM signing_requests n WHERE n.message = t.message AND n.state = t.state AND n.number > t.number)
	ON CONFLICT DO NOTHING RETURNING message, state
)
DELETE FROM signing_open WHERE seq = ANY (ARRAY(
	SELECT o.seq FROM kept, LATERAL (SELECT seq FROM signing_open o WHERE o.message = kept.message AND o.state = kept.state LIMIT 100) o))`

// closeSQL looks each step up, whatever the statistics say of a table that is empty at one moment and long at the next.
const closeSQL = `DELETE FROM signing_open WHERE seq = ANY (ARRAY(
	SELECT o.seq FROM unnest($1::text[], $2::text[]) AS t(message, state),
		LATERAL (SELECT seq FROM signing_open o WHERE o.message = t.message AND o.state = t.state LIMIT 100) o))`

// Refuse writes refusals.
func (r *Requests) Refuse(ctx context.Context, refusals []signer.Refusal) error {
	if len(refusals) == 0 {
		return nil
	}
	var c columns
	for _, one := range refusals {
		p := problem.From(one.Because)
		c.add(clean(string(one.Step.Message)), clean(one.Step.State), int64(one.Number), p.Kind.String(), clean(p.Code), clean(one.Because.Error()))
	}
	return r.db.transaction(ctx, "requests.refuse", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1, -3)", lockClass); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, refuseSQL, c...)
		return err
	})
}

const tellSQL = `UPDATE signing_refusals r SET told = true FROM unnest($1::text[], $2::text[]) AS t(message, state) WHERE r.message = t.message AND r.state = t.state AND NOT r.told`

// Tell marks refusals.
func (r *Requests) Tell(ctx context.Context, steps []signer.Step) error {
	messages, states := stepColumns(steps)
	_, err := r.db.pool.Exec(ctx, tellSQL, messages, states)
	return r.db.describe(err)
}

const listOpenSQL = "SELECT seq, message, state, key, pool, at FROM signing_open WHERE seq > $1 AND seq < " + settledBelow + " ORDER BY seq LIMIT $2"

// List reads what is open.
func (r *Requests) List(ctx context.Context, after int64, limit int) ([]signer.Open, error) {
	return rows(ctx, r.db, r.db.lazy, func(row pgx.CollectableRow) (o signer.Open, err error) {
		var at int64
		err = row.Scan(&o.Seq, &o.Step.Message, &o.Step.State, &o.Key, &o.Pool, &at)
		o.At = time.UnixMicro(at)
		return o, err
	}, listOpenSQL, after, limit)
}

// Close deletes rows of the list. It waits for no disk: a row that comes back is answered from what is stored.
func (r *Requests) Close(ctx context.Context, steps []signer.Step) error {
	messages, states := stepColumns(steps)
	_, err := r.db.lazy.Exec(ctx, closeSQL, messages, states)
	return r.db.describe(err)
}

// Waiting counts the list.
func (r *Requests) Waiting(ctx context.Context) (n int, oldest time.Time, err error) {
	var at *int64
	err = r.db.lazy.QueryRow(ctx, "SELECT count(*), (SELECT at FROM signing_open ORDER BY seq LIMIT 1) FROM signing_open").Scan(&n, &at)
	return n, timeOf(at), r.db.describe(err)
}
