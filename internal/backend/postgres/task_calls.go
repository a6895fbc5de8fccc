package postgres

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
)

// An answer and a commit that closes or awaits its call lock the call's row first, and so come one after the other.

// Two of the statuses of a call; the schema explains all.
const (
	callOpen = "open"
	callOver = "over"
)

// Answer stores the answer to a call and makes its message due.
func (g *Guarantee) Answer(ctx context.Context, id message.ID, number int, state string, a guarantee.Answer, at time.Time) error {
	answer, err := json.Marshal(a)
	if err != nil {
		return err
	}
	a.By = ""
	content, err := json.Marshal(a)
	if err != nil {
		return err
	}
	digest := sha256.Sum256(content)
	err = g.db.transaction(ctx, "guarantee.answer", func(tx pgx.Tx) error {
		repeated, err := takesAnswer(ctx, tx, id, number, state, digest[:])
		if repeated || err != nil {
			return err
		}
		var b pgx.Batch
		b.Queue("UPDATE task_calls SET status = 'answered', answered = $3, answer = $4, digest = $5, heard = heard + 1 WHERE id = $1 AND call = $2",
			string(id), number, micros(at), answer, digest[:])
		b.Queue(hastenSQL, []string{string(id)}, []int64{micros(at)})
		return tx.SendBatch(ctx, &b).Close()
	})
	g.db.announce()
	return err
}

// Beat notes a heartbeat.
func (g *Guarantee) Beat(ctx context.Context, id message.ID, number int, state string, at time.Time) error {
	return g.db.transaction(ctx, "guarantee.beat", func(tx pgx.Tx) error {
		if _, err := takesAnswer(ctx, tx, id, number, state, nil); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "UPDATE task_calls SET beat = greatest(beat, $3), heard = heard + 1 WHERE id = $1 AND call = $2", string(id), number, micros(at))
		return err
	})
}

// takesAnswer locks a call and tells whether it takes something in; repeated: it has this very answer already.
func takesAnswer(ctx context.Context, tx pgx.Tx, id message.ID, number int, state string, digest []byte) (repeated bool, err error) {
	var status, of string
	var known []byte
	err = tx.QueryRow(ctx, "SELECT status, state, digest FROM task_calls WHERE id = $1 AND call = $2 FOR UPDATE", clean(string(id)), number).Scan(&status, &of, &known)
	switch {
	case isNone(err) || err == nil && of != clean(state):
		return false, guarantee.ErrTaskUnknown
	case err != nil:
		return false, err
	case status == callOpen:
		return false, nil
	case status == callOver:
		return false, guarantee.ErrTaskOver
	case digest != nil && bytes.Equal(known, digest):
		return true, nil
	}
	return false, guarantee.ErrTaskAnswered
}

// Heard gives the open calls for which something came in.
func (g *Guarantee) Heard(ctx context.Context, ids []message.ID) (map[message.ID][]guarantee.Call, error) {
	return g.calls(ctx, " WHERE c.heard > 0 AND c.status IN ('open', 'answered') ORDER BY c.id, c.call", ids)
}

// Open gives all open calls of a message.
func (g *Guarantee) Open(ctx context.Context, id message.ID) ([]guarantee.Call, error) {
	calls, err := g.calls(ctx, " WHERE c.status IN ('open', 'answered') ORDER BY c.id, c.call", []message.ID{id})
	return calls[id], err
}

func (g *Guarantee) calls(ctx context.Context, rest string, ids []message.ID) (map[message.ID][]guarantee.Call, error) {
	type owned struct {
		guarantee.Call
		id message.ID
	}
	list, err := rows(ctx, g.db, g.db.pool, func(row pgx.CollectableRow) (o owned, err error) {
		var opened, until, heartbeat int64
		var beat *int64
		var answer []byte
		if err := row.Scan(&o.id, &o.Number, &o.State, &opened, &until, &heartbeat, &o.Heard, &beat, &answer); err != nil {
			return o, err
		}
		o.Opened, o.Until, o.Beat, o.Heartbeat = timeOf(&opened), timeOf(&until), timeOf(beat), time.Duration(heartbeat)*time.Microsecond
		if answer != nil {
			o.Answer = &guarantee.Answer{}
			if err := json.Unmarshal(answer, o.Answer); err != nil {
				return o, problem.New(problem.Internal, "storage-corrupt", "the answer to a task of %s cannot be read: %w", o.id, err)
			}
		}
		return o, nil
	}, "SELECT c.id, c.call, c.state, c.opened, c.until, c.heartbeat, c.heard, c.beat, c.answer FROM task_calls c JOIN unnest($1::text[]) AS t(id) ON t.id = c.id"+rest, texts(ids))
	found := map[message.ID][]guarantee.Call{}
	for _, o := range list {
		found[o.id] = append(found[o.id], o.Call)
	}
	return found, err
}

const (
	lockCallsSQL = `SELECT c.id, c.call, c.heard FROM task_calls c JOIN unnest($1::text[]) AS t(id) ON t.id = c.id
		WHERE c.status IN ('open', 'answered') ORDER BY c.id, c.call FOR UPDATE OF c`
	closeCallsSQL = `UPDATE task_calls c SET status = CASE c.status WHEN 'answered' THEN 'taken' ELSE 'over' END, answer = NULL
		FROM unnest($1::text[], $2::bigint[]) AS t(id, call) WHERE c.id = t.id AND c.call = t.call AND c.status IN ('open', 'answered')`
	openCallsSQL = `INSERT INTO task_calls (id, call, state, opened, until, heartbeat)
		SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[])`
	// A message that waits for longer is due at once; one that is parked stays where it is.
	hastenSQL = "UPDATE due d SET at = t.at FROM unnest($1::text[], $2::bigint[]) AS t(id, at) WHERE d.id = t.id AND d.at > t.at"
	awaitsSQL = `UPDATE due d SET at = c.answered FROM unnest($1::text[]) AS t(id),
		LATERAL (SELECT min(answered) AS answered FROM task_calls c WHERE c.id = t.id AND c.heard > 0 AND c.status IN ('open', 'answered')) c
		WHERE d.id = t.id AND d.at > c.answered`
)

// lockCalls locks the open calls of messages whose transitions concern them. A transition is late that closes one of which
// more came in than was seen.
func lockCalls(ctx context.Context, db *DB, tx pgx.Tx, ts []guarantee.Transition, w wave, outcomes []outcome) error {
	var ids []message.ID
	for _, n := range w.places {
		if len(ts[n].Close) > 0 || ts[n].Awaits {
			ids = append(ids, ts[n].ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	type call struct {
		ID     message.ID
		Number int
	}
	heard := map[call]int64{}
	if _, err := rows(ctx, db, tx, func(row pgx.CollectableRow) (c call, err error) {
		var times int64
		err = row.Scan(&c.ID, &c.Number, &times)
		heard[c] = times
		return c, err
	}, lockCallsSQL, texts(ids)); err != nil {
		return err
	}
	for _, n := range w.places {
		for _, c := range ts[n].Close {
			if times, there := heard[call{ts[n].ID, c.Number}]; there && times != c.Seen {
				outcomes[n] = late
			}
		}
	}
	return nil
}

// moveCalls closes and opens what applied transitions say, and makes messages due for which an answer waits.
func moveCalls(b *pgx.Batch, ts []guarantee.Transition, w wave, outcomes []outcome) {
	var closed, opened columns
	var awaiting []message.ID
	for _, n := range w.places {
		t := &ts[n]
		if outcomes[n] != applied {
			continue
		}
		for _, c := range t.Close {
			closed.add(string(t.ID), int64(c.Number))
		}
		for _, c := range t.Open {
			opened.add(string(t.ID), int64(c.Number), clean(c.State), micros(t.Entries[len(t.Entries)-1].At), micros(c.Until), c.Heartbeat.Microseconds())
		}
		if t.Awaits {
			awaiting = append(awaiting, t.ID)
		}
	}
	if closed != nil {
		b.Queue(closeCallsSQL, closed...)
	}
	if opened != nil {
		b.Queue(openCallsSQL, opened...)
	}
	if awaiting != nil {
		b.Queue(awaitsSQL, texts(awaiting))
	}
}
