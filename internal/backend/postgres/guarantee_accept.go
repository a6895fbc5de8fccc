package postgres

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/guarantee"
)

// Guarantee serves guarantee.Store and guarantee.Definitions.
type Guarantee struct{ db *DB }

// NewGuarantee uses the system of record.
func NewGuarantee(db *DB) *Guarantee { return &Guarantee{db} }

// forgetAfter is how long an id that expired unused answers "expired"; afterwards it is as if it had never been issued.
const forgetAfter = 30 * 24 * time.Hour

const issueSQL = `WITH forgotten AS (
	DELETE FROM issued WHERE id IN (SELECT id FROM issued WHERE expires < $4 ORDER BY expires LIMIT $5)
)
INSERT INTO issued (id, client, expires) SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[])`

// Issue records fresh ids, and forgets twice as many of those that expired long ago.
func (g *Guarantee) Issue(ctx context.Context, fresh []guarantee.Issued) error {
	ids, owners, expires := make([]string, len(fresh)), make([]string, len(fresh)), make([]int64, len(fresh))
	var before int64
	for i, id := range fresh {
		ids[i], owners[i], expires[i] = string(id.ID), id.Client, micros(id.Expires)
		if !id.At.IsZero() {
			before = micros(id.At.Add(-forgetAfter))
		}
	}
	return g.db.update(ctx, "guarantee.issue", func() error {
		_, err := g.db.pool.Exec(ctx, issueSQL, ids, owners, expires, before, 2*len(fresh))
		return err
	})
}

// acceptors is how many batches of acceptances are under way at once: while one waits for the disk the next ones gather.
const acceptors = 2

// mostAccepted is the number of acceptances that share one commit at the most.
const mostAccepted = 256

// acceptance is one caller's message, waiting for the next batch.
type acceptance struct {
	guarantee.Acceptance
	now                 time.Time
	attributes, entries []byte
	created             bool
	err                 error
	done                chan struct{}
}

// Accept stores a message under its issued id, once. Messages that come at the same time share a statement.
func (g *Guarantee) Accept(ctx context.Context, a guarantee.Acceptance, now time.Time) (rec guarantee.Record, created bool, err error) {
	w := &acceptance{Acceptance: a, now: now, done: make(chan struct{})}
	if w.attributes, err = json.Marshal(a.Attributes); err != nil {
		return rec, false, err
	}
	if w.entries, err = json.Marshal([]guarantee.Entry{{Version: 1, State: a.State, Event: "accepted", By: a.Client, At: now}}); err != nil {
		return rec, false, err
	}
	err = g.db.update(ctx, "guarantee.accept", func() error {
		select {
		case g.db.accepts <- w:
		case <-ctx.Done():
			return ctx.Err()
		}
		<-w.done // never given up half way: the answer tells what happened
		return w.err
	})
	if err != nil {
		return rec, false, err
	}
	if w.created {
		rec = a.Record
		rec.Version, rec.Accepted, rec.Updated = 1, now, now
		return rec, true, nil
	}
	rec, err = g.present(ctx, a)
	return rec, false, err
}

// name is what a batch holds once: an id belongs to one client, and another one's attempt must not get in its way.
func (w *acceptance) name() string { return string(w.ID) + " " + w.Client }

// accepting commits whatever waits, until ctx ends and nothing waits any more.
func (db *DB) accepting(ctx context.Context) {
	for {
		select {
		case first := <-db.accepts:
			db.acceptBatch(context.WithoutCancel(ctx), db.gather(first))
		case <-ctx.Done():
			return
		}
	}
}

// gather adds what else waits. Of two for one id the second is answered by what the first has stored.
func (db *DB) gather(first *acceptance) []*acceptance {
	batch := []*acceptance{first}
	for len(batch) < mostAccepted {
		select {
		case next := <-db.accepts:
			batch = append(batch, next)
		default:
			return batch
		}
	}
	return batch
}

const acceptSQL = `WITH a AS (
	SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::bytea[], $8::bytea[], $9::text[],
		$10::bigint[], $11::bytea[], $12::bytea[], $13::bytea[], $14::text[], $15::text[], $16::bytea[], $17::bytea[], $18::bigint[], $19::bytea[])
		AS a(id, client, type, chain, expires, scheme, digest, signer, workflow, accepted, attributes, body, original, state, status, place, ext, due, entries)
), found AS MATERIALIZED (
	SELECT a.*, i.ctid AS spot FROM a, LATERAL (SELECT ctid FROM issued WHERE id = a.id LIMIT 1) i
), taken AS (
	DELETE FROM issued i USING found a WHERE i.ctid = a.spot AND i.client = a.client AND i.expires >= a.accepted AND a.expires >= a.accepted RETURNING a.*
), fresh AS MATERIALIZED (
	SELECT *, row_number() OVER () AS place_in_commit FROM taken
), original AS (
	INSERT INTO originals (id, client, type, chain, expires, scheme, digest, signer, workflow, accepted, attributes, body, original)
	SELECT id, client, type, chain, expires, scheme, digest, signer, workflow, accepted, attributes, body, original FROM fresh
), live AS (
	INSERT INTO messages (id, version, state, status, place, ext, reason, updated) SELECT id, 1, state, status, place, ext, '', accepted FROM fresh
), fed AS (
	INSERT INTO due (id, at) SELECT id, due FROM fresh WHERE due IS NOT NULL
), told AS (
	INSERT INTO history (id, version, entries) SELECT id, 1, entries FROM fresh
), event AS (
	INSERT INTO outbox (seq, id, version, state, status, reason, archived, updated)
	SELECT (pg_current_xact_id()::text::bigint << 20) + place_in_commit, id, 1, state, status, '', false, accepted FROM fresh
)
SELECT id || ' ' || client FROM fresh`

// acceptBatch stores a batch in one statement. What it does not find among the issued ids is not stored; why, Accept finds out.
func (db *DB) acceptBatch(ctx context.Context, batch []*acceptance) {
	var c columns
	asked := map[string]*acceptance{}
	// In one order everywhere, so that batches that meet the same id wait for each other and do not deadlock.
	slices.SortStableFunc(batch, func(a, b *acceptance) int { return strings.Compare(string(a.ID), string(b.ID)) })
	for _, w := range batch {
		if asked[w.name()] == nil {
			asked[w.name()] = w
			c.accept(w)
		}
	}
	stored, err := rows(ctx, db, db.pool, pgx.RowTo[string], acceptSQL, c...)
	for _, name := range stored {
		asked[name].created = true
	}
	for _, w := range batch {
		w.err = err
		close(w.done)
	}
	db.announce()
}

// accept adds a message to the columns of acceptSQL.
func (c *columns) accept(w *acceptance) {
	c.add(string(w.ID), w.Client, w.Type, w.Chain, micros(w.Expires), string(w.Scheme), w.Digest[:], w.Signer[:], w.Workflow,
		micros(w.now), w.attributes, []byte(w.Body), w.Original, clean(w.State), string(w.Status), w.Place, []byte(w.Ext), optional(w.Due), w.entries)
}

// present is the answer to what was not stored: the stored result for the same digest (A1), a refusal otherwise (A2, A7, A8).
func (g *Guarantee) present(ctx context.Context, a guarantee.Acceptance) (guarantee.Record, error) {
	stored, _, found, err := g.read(ctx, a.ID)
	switch {
	case err != nil:
		return guarantee.Record{}, err
	case found:
		return stored, same(stored, a)
	}
	owner, known, err := one(ctx, g.db, g.db.pool, pgx.RowTo[string], "SELECT client FROM issued WHERE id = $1", clean(string(a.ID)))
	switch {
	case err != nil:
		return guarantee.Record{}, err
	case !known || owner != a.Client:
		return guarantee.Record{}, guarantee.ErrUnknown
	}
	return guarantee.Record{}, guarantee.ErrExpired
}

func same(stored guarantee.Record, a guarantee.Acceptance) error {
	switch {
	case stored.Client != a.Client:
		return guarantee.ErrUnknown
	case stored.Digest != a.Digest || stored.Signer != a.Signer:
		return guarantee.ErrReused
	}
	return nil
}
