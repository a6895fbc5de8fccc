package sqlite

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"zombiezen.com/go/sqlite"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
)

// Decisions serves signer.Decisions. It shares the file with Keys, so that a decision and the key's next nonce commit
// together, under the key's fence.
type Decisions struct{ db *DB }

// NewDecisions uses the system of record.
func NewDecisions(db *DB) *Decisions { return &Decisions{db} }

const selectDecision = `SELECT d.message, d.state, k.id, k.chain, d.nonce, d.fence, d.tx, d.hash, d.raw
	FROM decisions d JOIN keys k ON k.seq = d.key `

func decisionRow(s *sqlite.Stmt) (signer.Decision, error) {
	d := signer.Decision{
		Step: signer.Step{Message: message.ID(s.ColumnText(0)), State: s.ColumnText(1)},
		Key:  s.ColumnText(2), Chain: s.ColumnText(3), Nonce: uint64(s.ColumnInt64(4)), Fence: uint64(s.ColumnInt64(5)),
		Signed: chain.Signed{Hash: hashColumn(s, 7), Raw: blob(s, 8)},
	}
	return d, decodeDecision(&d, blob(s, 6))
}

// readDecisions runs a query for the columns of selectDecision.
func readDecisions(conn *sqlite.Conn, rest string, bind func(*sqlite.Stmt)) (decisions []signer.Decision, err error) {
	err = run(conn, selectDecision+rest, bind, func(s *sqlite.Stmt) error {
		d, err := decisionRow(s)
		decisions = append(decisions, d)
		return err
	})
	return decisions, err
}

// readStep names one table a statement: SQLite prepares a join anew at every run, which costs more than all the rest.
func readStep(conn *sqlite.Conn, step signer.Step) (d signer.Decision, found bool, err error) {
	d.Step = step
	var seq int64
	err = run(conn, "SELECT key, nonce, fence, tx, hash, raw FROM decisions WHERE message = ? AND state = ?", func(s *sqlite.Stmt) {
		s.BindText(1, string(step.Message))
		s.BindText(2, step.State)
	}, func(s *sqlite.Stmt) error {
		found, seq = true, s.ColumnInt64(0)
		d.Nonce, d.Fence, d.Signed = uint64(s.ColumnInt64(1)), uint64(s.ColumnInt64(2)), chain.Signed{Hash: hashColumn(s, 4), Raw: blob(s, 5)}
		return decodeDecision(&d, blob(s, 3))
	})
	if err != nil || !found {
		return d, false, err
	}
	_, err = queryRow(conn, "SELECT id, chain FROM keys WHERE seq = ?", func(s *sqlite.Stmt) { s.BindInt64(1, seq) }, func(s *sqlite.Stmt) { d.Key, d.Chain = s.ColumnText(0), s.ColumnText(1) })
	return d, true, err
}

func decodeDecision(d *signer.Decision, tx []byte) error {
	if err := json.Unmarshal(tx, &d.Tx); err != nil {
		return fmt.Errorf("read the transaction of the decision for %s at %s: %w", d.Step.Message, d.Step.State, err)
	}
	return nil
}

// Find reads the decisions of steps.
func (d *Decisions) Find(ctx context.Context, steps []signer.Step) (map[signer.Step]signer.Decision, error) {
	decisions := make(map[signer.Step]signer.Decision, len(steps))
	err := d.db.view(ctx, func(conn *sqlite.Conn) error {
		for _, step := range steps {
			decision, found, err := readStep(conn, step)
			if err != nil {
				return err
			}
			if found {
				decisions[step] = decision
			}
		}
		return nil
	})
	return decisions, err
}

// Decide assigns nonces, durably, in one transaction with the check of the fence.
func (d *Decisions) Decide(ctx context.Context, lease key.Lease, steps []signer.Step, txs []chain.Unsigned) ([]signer.Decision, error) {
	decisions, bodies, err := signer.Draft(lease, steps, txs)
	if err != nil {
		return nil, err
	}
	err = d.db.update(ctx, "decisions.decide", func(conn *sqlite.Conn) error { return decide(conn, lease, decisions, bodies) })
	if err != nil {
		return nil, err
	}
	return decisions, nil
}

// decide fills in the nonces. Steps that are decided already are replaced by what was decided.
func decide(conn *sqlite.Conn, lease key.Lease, decisions []signer.Decision, bodies [][]byte) error {
	seq, first, err := fenced(conn, lease)
	if err != nil {
		return err
	}
	next := first
	for i := range decisions {
		d := &decisions[i]
		d.Nonce = uint64(next)
		fresh, err := insertDecision(conn, seq, d, bodies[i])
		if err != nil {
			return err
		}
		if fresh {
			next++
			continue
		}
		if *d, _, err = readStep(conn, d.Step); err != nil {
			return err
		}
	}
	if next == first {
		return nil
	}
	return run(conn, "UPDATE keys SET nonce = ? WHERE seq = ?", func(s *sqlite.Stmt) {
		s.BindInt64(1, next)
		s.BindInt64(2, seq)
	}, nil)
}

// fenced checks that the lease is the key's present one (I8, A15) and gives the key's row and next nonce.
func fenced(conn *sqlite.Conn, l key.Lease) (seq, nonce int64, err error) {
	known := false
	found, err := queryRow(conn, "SELECT seq, nonce, known FROM keys WHERE id = ? AND chain = ? AND address = ? AND status = 'leased' AND fence = ? AND holder = ?", func(s *sqlite.Stmt) {
		s.BindText(1, l.Key.ID)
		s.BindText(2, l.Key.Chain)
		s.BindText(3, l.Key.Address)
		s.BindInt64(4, int64(l.Fence))
		s.BindText(5, l.Holder)
	}, func(s *sqlite.Stmt) { seq, nonce, known = s.ColumnInt64(0), s.ColumnInt64(1), s.ColumnBool(2) })
	switch {
	case err != nil:
		return 0, 0, err
	case !found:
		return 0, 0, problem.New(key.ErrStale.Kind, key.ErrStale.Code, "the lease of %s on the key %s with the fence %d has ended; nothing was decided, take a new lease", l.Holder, l.Key.ID, l.Fence)
	case !known:
		return 0, 0, problem.New(signer.ErrUnreconciled.Kind, signer.ErrUnreconciled.Code, "the nonce of the key %s was never compared with the chain; reconcile it first", l.Key.ID)
	}
	return seq, nonce, nil
}

// insertDecision says whether the step was undecided. Another decision with the same nonce is an error of the database (A16).
func insertDecision(conn *sqlite.Conn, seq int64, d *signer.Decision, body []byte) (fresh bool, err error) {
	err = run(conn, "INSERT INTO decisions (message, state, key, nonce, fence, tx) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (message, state) DO NOTHING", func(s *sqlite.Stmt) {
		s.BindText(1, string(d.Step.Message))
		s.BindText(2, d.Step.State)
		s.BindInt64(3, seq)
		s.BindInt64(4, int64(d.Nonce))
		s.BindInt64(5, int64(d.Fence))
		s.BindBytes(6, body)
	}, nil)
	return conn.Changes() == 1, err
}

// Store keeps signed bytes, once for each decision.
func (d *Decisions) Store(ctx context.Context, signed []signer.Decision) ([]signer.Decision, error) {
	kept := make([]signer.Decision, len(signed))
	err := d.db.update(ctx, "decisions.store", func(conn *sqlite.Conn) (err error) {
		for i, s := range signed {
			if kept[i], err = store(conn, s); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return kept, nil
}

func store(conn *sqlite.Conn, d signer.Decision) (signer.Decision, error) {
	if d.Signed.Hash == "" || len(d.Signed.Raw) == 0 {
		return d, problem.New(signer.ErrUndecided.Kind, signer.ErrUndecided.Code, "there are no signed bytes to store for %s at %s", d.Step.Message, d.Step.State)
	}
	err := run(conn, `UPDATE decisions SET hash = ?, raw = ? WHERE message = ? AND state = ? AND nonce = ?
		AND key = (SELECT seq FROM keys WHERE id = ?) AND raw IS NULL`, func(s *sqlite.Stmt) {
		bindHash(s, 1, d.Signed.Hash)
		s.BindBytes(2, d.Signed.Raw)
		s.BindText(3, string(d.Step.Message))
		s.BindText(4, d.Step.State)
		s.BindInt64(5, int64(d.Nonce))
		s.BindText(6, d.Key)
	}, nil)
	if err != nil || conn.Changes() == 1 {
		return d, err
	}
	stored, found, err := readStep(conn, d.Step)
	if err != nil {
		return d, err
	}
	if !found || stored.Key != d.Key || stored.Nonce != d.Nonce { // A28
		return d, problem.New(signer.ErrUndecided.Kind, signer.ErrUndecided.Code, "nobody decided to sign nonce %d of the key %s for %s at %s; its bytes are not kept", d.Nonce, d.Key, d.Step.Message, d.Step.State)
	}
	return stored, nil
}

// Unsigned lists a key's decisions without bytes, by nonce.
func (d *Decisions) Unsigned(ctx context.Context, keyID string) (decisions []signer.Decision, err error) {
	err = d.db.view(ctx, func(conn *sqlite.Conn) error {
		decisions, err = readDecisions(conn, "WHERE k.id = ? AND d.raw IS NULL ORDER BY d.nonce", func(s *sqlite.Stmt) { s.BindText(1, keyID) })
		return err
	})
	return decisions, err
}

// bindHash stores "0x…" as its bytes, half the size, and any other notation as text.
func bindHash(s *sqlite.Stmt, param int, hash string) {
	if digits, ok := strings.CutPrefix(hash, "0x"); ok && digits == strings.ToLower(digits) {
		if b, err := hex.DecodeString(digits); err == nil {
			s.BindBytes(param, b)
			return
		}
	}
	s.BindText(param, hash)
}

func hashColumn(s *sqlite.Stmt, column int) string {
	switch s.ColumnType(column) {
	case sqlite.TypeNull:
		return ""
	case sqlite.TypeBlob:
		return "0x" + hex.EncodeToString(blob(s, column))
	}
	return s.ColumnText(column)
}
