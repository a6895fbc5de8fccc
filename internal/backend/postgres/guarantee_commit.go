package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
)

// commitSQL applies a batch, one row of t each, to every table that it concerns; it answers with the places of those that
// were applied. was is the version that a transition was decided on: only the update or delete that finds it there applies
// (I4), and everything else follows from what that returned. The four kinds of transition touch different rows.
//
// Each row is looked up once (found), and no two batches are joined: PostgreSQL compares all of one with all of the other.
const commitSQL = `WITH t AS (
	SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::bytea[], $8::bytea[], $9::bigint[], $10::text[],
		$11::bigint[], $12::bytea[], $13::bool[]) AS t(n, id, was, steps, state, status, place, ext, due, reason, updated, entries, archive)
), found AS MATERIALIZED (
	SELECT t.*, m.ctid AS spot FROM t, LATERAL (SELECT ctid FROM messages WHERE id = t.id LIMIT 1) m
), moved AS (
	UPDATE messages m SET version = t.was + t.steps, state = t.state, status = t.status, place = t.place, ext = t.ext, reason = t.reason, updated = t.updated
	FROM found t WHERE m.ctid = t.spot AND m.version = t.was AND m.status NOT IN ('succeeded', 'failed') AND t.steps > 0 AND NOT t.archive RETURNING t.*
), ended AS (
	DELETE FROM messages m USING found t
	WHERE m.ctid = t.spot AND m.version = t.was AND m.status NOT IN ('succeeded', 'failed') AND t.steps > 0 AND t.archive RETURNING t.*
), postponed AS (
	UPDATE messages m SET version = m.version FROM found t
	WHERE m.ctid = t.spot AND m.version = t.was AND m.status = 'waiting' AND t.steps = 0 RETURNING t.*
), stepped AS MATERIALIZED (
	SELECT * FROM moved UNION ALL SELECT * FROM ended
), told AS (
	INSERT INTO history (id, version, entries) SELECT id, was + 1, entries FROM stepped
), event AS (
	INSERT INTO outbox (seq, id, version, state, status, reason, archived, updated)
	SELECT (pg_current_xact_id()::text::bigint << 20) + n, id, was + steps, state, status, reason, archive, updated FROM stepped
), archived AS (
	INSERT INTO archive (id, version, state, status, ext, reason, updated)
	SELECT id, was + steps, state, status, ext, reason, updated FROM stepped WHERE archive
), quiet AS (
	DELETE FROM due WHERE id = ANY (ARRAY(SELECT id FROM stepped WHERE archive OR due IS NULL AND status <> 'running'))
), parted AS (
	DELETE FROM parts WHERE id = ANY (ARRAY(SELECT id FROM stepped WHERE status IN ('succeeded', 'failed')))
), fed AS (
	INSERT INTO due AS d (id, at) SELECT id, due FROM stepped WHERE due IS NOT NULL AND NOT archive
	UNION ALL SELECT id, due FROM postponed WHERE due IS NOT NULL
	ON CONFLICT (id) DO UPDATE SET at = excluded.at
)
SELECT n FROM stepped UNION ALL SELECT n FROM postponed`

// outcome is what has become of a transition.
type outcome uint8

const (
	open    outcome = iota // not applied, for a reason to be found
	applied                //
	late                   // not applied: more came in for a call than was seen
)

// Commit applies a batch of transitions in one transaction, and mostly in one statement: one round trip, one wait for the
// disk. A message that is moved twice in the batch is moved by two statements, one after the other; parts of places and
// calls that wait for an answer take a few statements more.
func (g *Guarantee) Commit(ctx context.Context, ts []guarantee.Transition) (refused []error, err error) {
	outcomes := make([]outcome, len(ts))
	waves, err := inWaves(ts)
	if err != nil {
		return nil, err
	}
	err = g.db.update(ctx, "guarantee.commit", func() error {
		return undeadlocked(func() error { return g.apply(ctx, ts, waves, outcomes) })
	})
	if err != nil {
		return nil, err
	}
	g.db.announce()
	refused, again, err := g.refusals(ctx, ts, outcomes)
	if err != nil || len(again) == 0 {
		return refused, err
	}
	// What could not be applied then can be now: an answer from two moments would fit neither.
	rest := make([]guarantee.Transition, len(again))
	for i, n := range again {
		rest[i] = ts[n]
	}
	later, err := g.Commit(ctx, rest)
	for i, n := range again[:len(later)] {
		refused[n] = later[i]
	}
	return refused, err
}

func (g *Guarantee) apply(ctx context.Context, ts []guarantee.Transition, waves []wave, outcomes []outcome) error {
	clear(outcomes)
	if len(waves) == 1 && !waves[0].parts && !waves[0].calls {
		return g.move(ctx, g.db.pool, waves[0].rows, outcomes)
	}
	return pgx.BeginFunc(ctx, g.db.pool, func(tx pgx.Tx) error {
		for _, wave := range waves {
			if err := g.moveAll(ctx, tx, ts, wave, outcomes); err != nil {
				return err
			}
		}
		return nil
	})
}

// moveAll applies a wave with what goes along: parts of places, and calls.
func (g *Guarantee) moveAll(ctx context.Context, tx pgx.Tx, ts []guarantee.Transition, w wave, outcomes []outcome) error {
	changes := w.rows
	if w.calls {
		if err := lockCalls(ctx, g.db, tx, ts, w, outcomes); err != nil {
			return err
		}
		changes = nil
		for _, n := range w.places {
			if outcomes[n] == late {
				continue
			}
			if err := changes.transition(int64(n), &ts[n]); err != nil {
				return err
			}
		}
		if changes == nil {
			return nil
		}
	}
	if err := g.move(ctx, tx, changes, outcomes); err != nil {
		return err
	}
	var b pgx.Batch
	moveParts(&b, ts, w, outcomes)
	moveCalls(&b, ts, w, outcomes)
	movePins(&b, ts, w, outcomes)
	if b.Len() == 0 {
		return nil
	}
	return tx.SendBatch(ctx, &b).Close()
}

func (g *Guarantee) move(ctx context.Context, in querier, changes columns, outcomes []outcome) error {
	places, err := rows(ctx, g.db, in, pgx.RowTo[int64], commitSQL, changes...)
	for _, n := range places {
		outcomes[n] = applied
	}
	return err
}

// wave is transitions that one statement can apply: each message occurs once.
type wave struct {
	rows   columns
	places []int // of the transitions in their batch
	parts  bool  // some of them change parts, or the definition
	calls  bool  // some of them open, close or await calls
}

func (w *wave) add(n int, t *guarantee.Transition) error {
	w.places = append(w.places, n)
	w.parts = w.parts || len(t.Parts) > 0 || t.Workflow != ""
	w.calls = w.calls || len(t.Open) > 0 || len(t.Close) > 0 || t.Awaits
	return w.rows.transition(int64(n), t)
}

// inWaves makes the arguments of commitSQL. Messages come in one order everywhere, so that batches that meet wait for each
// other and mostly do not deadlock.
func inWaves(ts []guarantee.Transition) (waves []wave, err error) {
	order := make([]int, len(ts))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return strings.Compare(string(ts[a].ID), string(ts[b].ID)) })
	nth := 0
	for place, i := range order {
		if place > 0 && ts[order[place-1]].ID == ts[i].ID {
			nth++
		} else {
			nth = 0
		}
		if nth == len(waves) {
			waves = append(waves, wave{})
		}
		if err := waves[nth].add(i, &ts[i]); err != nil {
			return nil, err
		}
	}
	return waves, nil
}

func (c *columns) transition(n int64, t *guarantee.Transition) error {
	if t.Archive && !t.Status.Terminal() {
		return fmt.Errorf("archive %s: status %s is not terminal", t.ID, t.Status)
	}
	var entries []byte
	var updated int64
	if last := len(t.Entries) - 1; last >= 0 {
		var err error
		if entries, err = json.Marshal(t.Entries); err != nil {
			return err
		}
		updated = micros(t.Entries[last].At)
	}
	c.add(n, string(t.ID), t.From, int64(len(t.Entries)), clean(t.State), string(t.Status), t.Place, []byte(t.Ext), optional(t.Due), clean(t.Reason),
		updated, entries, t.Archive)
	return nil
}

// standing is where a message stands when a transition was refused.
type standing struct {
	ID      string
	Version int64
	Status  string
}

// refuses says why the transition does not apply; nil when it would by now.
func (s standing) refuses(t *guarantee.Transition) error {
	status := guarantee.Status(s.Status)
	switch {
	case s.ID == "":
		return guarantee.ErrUnknown
	case status.Terminal():
		return guarantee.ErrFinal
	case s.Version != t.From || len(t.Entries) == 0 && status != guarantee.Waiting:
		return guarantee.ErrStale
	}
	return nil
}

// refusals finds out why transitions were not applied, and which of them to try again.
func (g *Guarantee) refusals(ctx context.Context, ts []guarantee.Transition, outcomes []outcome) (refused []error, again []int, err error) {
	refused = make([]error, len(ts))
	var ids []message.ID
	for i, became := range outcomes {
		switch became {
		case late:
			refused[i] = guarantee.ErrStale
		case open:
			ids = append(ids, ts[i].ID)
		case applied:
		}
	}
	if len(ids) == 0 {
		return refused, nil, nil
	}
	found, err := rows(ctx, g.db, g.db.pool, pgx.RowToStructByPos[standing], `SELECT id, version, status FROM messages JOIN unnest($1::text[]) AS t(id) USING (id)
		UNION ALL SELECT id, version, status FROM archive JOIN unnest($1::text[]) AS t(id) USING (id)`, texts(ids))
	if err != nil {
		return nil, nil, err
	}
	at := map[message.ID]standing{}
	for _, s := range found {
		at[message.ID(s.ID)] = s
	}
	for i, became := range outcomes {
		if became != open {
			continue
		}
		if refused[i] = at[ts[i].ID].refuses(&ts[i]); refused[i] == nil {
			again = append(again, i)
		}
	}
	return refused, again, nil
}
