package postgres

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/problem"
)

// Decisions serves signer.Decisions. The key's row is locked while nonces are assigned, so that a decision and the key's next
// nonce commit together, under the key's fence.
type Decisions struct {
	db       *DB
	registry Leases // where keys are leased, when not in this database
}

// NewDecisions uses the system of record, under the leases of Keys.
func NewDecisions(db *DB) *Decisions { return &Decisions{db: db} }

const (
	decisionSQL = `SELECT d.message, d.state, k.id, k.chain, d.nonce, d.fence, d.tx, coalesce(s.hash, ''), s.raw
		FROM decisions d JOIN keys k ON k.seq = d.key LEFT JOIN signatures s ON s.decision = d.seq `
	// findSQL looks each step up, whatever the statistics say of a table that was empty a moment ago.
	findSQL = `SELECT d.message, d.state, k.id, k.chain, d.nonce, d.fence, d.tx, coalesce(s.hash, ''), s.raw
		FROM unnest($1::text[], $2::text[]) AS t(message, state),
			LATERAL (SELECT * FROM decisions d WHERE d.message = t.message AND d.state = t.state LIMIT 1) d,
			LATERAL (SELECT id, chain FROM keys WHERE seq = d.key LIMIT 1) k
			LEFT JOIN LATERAL (SELECT hash, raw FROM signatures WHERE decision = d.seq LIMIT 1) s ON true`
)

// decision reads the columns of decisionSQL.
func decision(row pgx.CollectableRow) (d signer.Decision, err error) {
	var tx []byte
	if err := row.Scan(&d.Step.Message, &d.Step.State, &d.Key, &d.Chain, &d.Nonce, &d.Fence, &tx, &d.Signed.Hash, &d.Signed.Raw); err != nil {
		return d, err
	}
	if err := json.Unmarshal(tx, &d.Tx); err != nil {
		return d, fmt.Errorf("read the transaction of the decision for %s at %s: %w", d.Step.Message, d.Step.State, err)
	}
	return d, nil
}

// Find reads the decisions of steps.
func (d *Decisions) Find(ctx context.Context, steps []signer.Step) (map[signer.Step]signer.Decision, error) {
	return d.find(ctx, d.db.pool, steps)
}

func (d *Decisions) find(ctx context.Context, from querier, steps []signer.Step) (map[signer.Step]signer.Decision, error) {
	messages, states := stepColumns(steps)
	list, err := rows(ctx, d.db, from, decision, findSQL, messages, states)
	found := make(map[signer.Step]signer.Decision, len(list))
	for _, one := range list {
		found[one.Step] = one
	}
	return found, err
}

// Decide assigns nonces, durably, in one transaction with the check of the fence.
func (d *Decisions) Decide(ctx context.Context, lease key.Lease, steps []signer.Step, txs []chain.Unsigned) ([]signer.Decision, error) {
	drafts, bodies, err := signer.Draft(lease, steps, txs)
	if err != nil {
		return nil, err
	}
	fence := fenced
	if d.registry != nil {
		k, err := d.present(ctx, lease)
		if err != nil {
			return nil, err
		}
		fence = func(ctx context.Context, tx pgx.Tx, _ key.Lease) (int64, int64, error) { return raised(ctx, tx, k) }
	}
	err = d.db.transaction(ctx, "decisions.decide", func(tx pgx.Tx) error { return d.decide(ctx, tx, lease, fence, drafts, bodies) })
	if err != nil {
		return nil, err
	}
	return drafts, nil
}

// decide fills in the nonces. Steps that are decided already, in the table or earlier in the batch, are replaced by what was
// decided. Two keys' leases may decide one step at the same time: the later one finds it taken, and begins again.
func (d *Decisions) decide(ctx context.Context, tx pgx.Tx, lease key.Lease, fence fencing, drafts []signer.Decision, bodies [][]byte) error {
	seq, first, err := fence(ctx, tx, lease)
	if err != nil {
		return err
	}
	steps := make([]signer.Step, len(drafts))
	for i := range drafts {
		steps[i] = drafts[i].Step
	}
	for known := (map[signer.Step]signer.Decision{}); ; { // at first as if none were decided: whoever asks has looked
		c, next := assign(drafts, bodies, known, first)
		if len(c) == 0 {
			return nil
		}
		complete, err := insert(ctx, tx, seq, c, next)
		if err != nil || complete {
			return err
		}
		if known, err = d.find(ctx, tx, steps); err != nil {
			return err
		}
	}
}

// assign gives each undecided step the next nonce, and makes the rows to insert.
func assign(drafts []signer.Decision, bodies [][]byte, known map[signer.Step]signer.Decision, next int64) (columns, int64) {
	var c columns
	for i := range drafts {
		if decided, is := known[drafts[i].Step]; is {
			drafts[i] = decided
			continue
		}
		drafts[i].Nonce = uint64(next)
		c.add(string(drafts[i].Step.Message), drafts[i].Step.State, next, int64(drafts[i].Fence), bodies[i])
		known[drafts[i].Step] = drafts[i]
		next++
	}
	return c, next
}

const insertDecisions = `INSERT INTO decisions (key, message, state, nonce, fence, tx)
	SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bytea[]) ON CONFLICT (message, state) DO NOTHING`

// insert writes decisions and the key's next nonce. It tells false, and writes nothing, when a step was decided under another
// key's lease meanwhile. Another decision with the same nonce is an error of the database (A16).
func insert(ctx context.Context, tx pgx.Tx, seq int64, c columns, next int64) (complete bool, err error) {
	part, err := tx.Begin(ctx)
	if err != nil {
		return false, err
	}
	tag, err := part.Exec(ctx, insertDecisions, append(columns{seq}, c...)...)
	if err != nil {
		return false, err
	}
	if tag.RowsAffected() < int64(len(c[0].([]string))) {
		return false, part.Rollback(ctx)
	}
	if _, err := part.Exec(ctx, "UPDATE keys SET nonce = $2 WHERE seq = $1", seq, next); err != nil {
		return false, err
	}
	return true, part.Commit(ctx)
}

// fencing locks a key, checks the fence of the lease (I8, A15) and gives the key's row and next nonce.
type fencing func(ctx context.Context, tx pgx.Tx, l key.Lease) (seq, nonce int64, err error)

// fenced is for the leases of Keys: the lease has to be the key's present one.
func fenced(ctx context.Context, tx pgx.Tx, l key.Lease) (seq, nonce int64, err error) {
	var known bool
	err = tx.QueryRow(ctx, `SELECT seq, nonce, known FROM keys
		WHERE id = $1 AND chain = $2 AND address = $3 AND status = 'leased' AND fence = $4 AND holder = $5 FOR NO KEY UPDATE`,
		clean(l.Key.ID), clean(l.Key.Chain), clean(l.Key.Address), l.Fence, clean(l.Holder)).Scan(&seq, &nonce, &known)
	switch {
	case isNone(err):
		return 0, 0, stale(l.Holder, l.Key.ID, l.Fence)
	case err == nil && !known:
		return 0, 0, unreconciled(l.Key.ID)
	}
	return seq, nonce, err
}

func stale(holder, id string, fence uint64) error {
	return problem.New(key.ErrStale.Kind, key.ErrStale.Code, "the lease of %s on the key %s with the fence %d has ended; nothing was decided, take a new lease", holder, id, fence)
}

func unreconciled(id string) error {
	return problem.New(signer.ErrUnreconciled.Kind, signer.ErrUnreconciled.Code, "the nonce of the key %s was never compared with the chain; reconcile it first", id)
}

const storeSQL = `INSERT INTO signatures (decision, hash, raw)
	SELECT d.seq, t.hash, t.raw FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::bytea[]) AS t(message, state, key, nonce, hash, raw),
		LATERAL (SELECT seq FROM decisions d WHERE d.message = t.message AND d.state = t.state AND d.nonce = t.nonce AND d.key = (SELECT seq FROM keys WHERE id = t.key) LIMIT 1) d
	ON CONFLICT (decision) DO NOTHING`

// Store keeps signed bytes, once for each decision.
func (d *Decisions) Store(ctx context.Context, signed []signer.Decision) (kept []signer.Decision, err error) {
	var c columns
	steps := make([]signer.Step, len(signed))
	for i, s := range signed {
		if s.Signed.Hash == "" || len(s.Signed.Raw) == 0 {
			return nil, problem.New(signer.ErrUndecided.Kind, signer.ErrUndecided.Code, "there are no signed bytes to store for %s at %s", s.Step.Message, s.Step.State)
		}
		steps[i] = s.Step
		c.add(string(s.Step.Message), clean(s.Step.State), clean(s.Key), int64(s.Nonce), clean(s.Signed.Hash), s.Signed.Raw)
	}
	if len(signed) == 0 {
		return nil, nil
	}
	err = d.db.transaction(ctx, "decisions.store", func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, storeSQL, c...)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == int64(len(signed)) { // each is decided, and had no bytes
			kept = signed
			return nil
		}
		stored, err := d.find(ctx, tx, steps)
		if err != nil {
			return err
		}
		kept, err = keep(signed, stored)
		return err
	})
	if err != nil {
		return nil, err
	}
	return kept, nil
}

// keep answers with what is stored; what nobody decided undoes the batch (A28).
func keep(signed []signer.Decision, stored map[signer.Step]signer.Decision) ([]signer.Decision, error) {
	kept := make([]signer.Decision, len(signed))
	for i, s := range signed {
		found, there := stored[s.Step]
		if !there || found.Key != s.Key || found.Nonce != s.Nonce {
			return nil, problem.New(signer.ErrUndecided.Kind, signer.ErrUndecided.Code, "nobody decided to sign nonce %d of the key %s for %s at %s; its bytes are not kept", s.Nonce, s.Key, s.Step.Message, s.Step.State)
		}
		kept[i] = found
	}
	return kept, nil
}

// Unsigned lists a key's decisions without bytes, by nonce.
func (d *Decisions) Unsigned(ctx context.Context, keyID string) ([]signer.Decision, error) {
	return rows(ctx, d.db, d.db.pool, decision, decisionSQL+"WHERE k.id = $1 AND s.decision IS NULL ORDER BY d.nonce", clean(keyID))
}
