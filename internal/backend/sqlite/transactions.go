package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/transaction"
)

// Transactions serves transaction.Store and transaction.Journal, from the same file as Decisions: a decision is a transaction's
// first attempt.
type Transactions struct{ db *DB }

// NewTransactions uses the system of record.
func NewTransactions(db *DB) *Transactions { return &Transactions{db} }

// Lanes reads the keys that have decided more than is settled.
func (t *Transactions) Lanes(ctx context.Context, chain string) (lanes []transaction.Lane, err error) {
	err = t.db.view(ctx, func(conn *sqlite.Conn) error {
		return run(conn, "SELECT id, address, nonce, settled, iif(status = 'quarantined', reason, '') FROM keys WHERE chain = ? AND settled < nonce ORDER BY id",
			func(s *sqlite.Stmt) { s.BindText(1, chain) },
			func(s *sqlite.Stmt) error {
				lanes = append(lanes, transaction.Lane{
					Key: s.ColumnText(0), Chain: chain, Address: s.ColumnText(1), Next: uint64(s.ColumnInt64(2)), Settled: uint64(s.ColumnInt64(3)), Halted: s.ColumnText(4),
				})
				return nil
			})
	})
	return lanes, err
}

// Range reads a part of a lane, one statement for each table.
func (t *Transactions) Range(ctx context.Context, keyID string, from uint64, limit int) (all []transaction.Transaction, err error) {
	err = t.db.view(ctx, func(conn *sqlite.Conn) error {
		seq, err := keySeq(conn, keyID)
		if err == nil {
			all, err = readRange(conn, seq, keyID, from, limit)
		}
		return err
	})
	return all, err
}

func keySeq(conn *sqlite.Conn, keyID string) (seq int64, err error) {
	found, err := queryRow(conn, "SELECT seq FROM keys WHERE id = ?", func(s *sqlite.Stmt) { s.BindText(1, keyID) }, func(s *sqlite.Stmt) { seq = s.ColumnInt64(0) })
	if err == nil && !found {
		err = problem.New(transaction.ErrUnknown.Kind, transaction.ErrUnknown.Code, "there is no key %s, so it has no transactions", keyID)
	}
	return seq, err
}

const decisionColumns = "SELECT message, state, nonce, tx, hash, raw, key FROM decisions "

// decided reads a row of decisionColumns.
func decided(s *sqlite.Stmt, keyID string) (transaction.Transaction, error) {
	t := transaction.Transaction{Key: keyID, Nonce: uint64(s.ColumnInt64(2))}
	t.Step = signer.Step{Message: message.ID(s.ColumnText(0)), State: s.ColumnText(1)}
	first := transaction.Attempt{Kind: transaction.First, Signed: chain.Signed{Hash: hashColumn(s, 4), Raw: blob(s, 5)}}
	err := unmarshalTx(blob(s, 3), &first.Tx, t.Nonce, keyID)
	t.Attempts = []transaction.Attempt{first}
	return t, err
}

func unmarshalTx(raw []byte, tx *chain.Unsigned, nonce uint64, keyID string) error {
	if err := json.Unmarshal(raw, tx); err != nil {
		return fmt.Errorf("read the transaction with nonce %d of the key %s: %w", nonce, keyID, err)
	}
	return nil
}

func readRange(conn *sqlite.Conn, seq int64, keyID string, from uint64, limit int) (all []transaction.Transaction, err error) {
	err = run(conn, decisionColumns+"WHERE key = ? AND nonce >= ? ORDER BY nonce LIMIT ?", func(s *sqlite.Stmt) {
		s.BindInt64(1, seq)
		s.BindInt64(2, int64(from))
		s.BindInt64(3, int64(limit))
	}, func(s *sqlite.Stmt) error {
		t, err := decided(s, keyID)
		all = append(all, t)
		return err
	})
	if err != nil || len(all) == 0 {
		return all, err
	}
	return all, complete(conn, seq, all)
}

// settle marks what is below the lane's mark.
func settle(all []transaction.Transaction, settled uint64) {
	for i := range all {
		all[i].Settled = all[i].Nonce < settled
	}
}

// complete adds to consecutive transactions of a key, in order, what came after their decisions. Attempts are put in order here:
// SQLite prepares a statement with an order anew at every run.
func complete(conn *sqlite.Conn, seq int64, all []transaction.Transaction) error {
	first, last := all[0].Nonce, all[len(all)-1].Nonce
	at := func(nonce uint64) *transaction.Transaction {
		for i := int(min(nonce-first, uint64(len(all)-1))); i >= 0; i-- { // nonces have no gaps, but for those of damaged files
			if all[i].Nonce == nonce {
				return &all[i]
			}
		}
		return &transaction.Transaction{}
	}
	bind := func(s *sqlite.Stmt) {
		s.BindInt64(1, seq)
		s.BindInt64(2, int64(first))
		s.BindInt64(3, int64(last))
	}
	err := run(conn, "SELECT nonce, number, kind, tx, by, why, decided, hash, raw FROM attempts WHERE key = ? AND nonce BETWEEN ? AND ?", bind, func(s *sqlite.Stmt) error {
		t := at(uint64(s.ColumnInt64(0)))
		a := transaction.Attempt{
			Number: s.ColumnInt(1), Kind: transaction.Kind(s.ColumnText(2)), By: s.ColumnText(4), Why: s.ColumnText(5), At: time.UnixMicro(s.ColumnInt64(6)),
			Signed: chain.Signed{Hash: hashColumn(s, 7), Raw: blob(s, 8)},
		}
		err := unmarshalTx(blob(s, 3), &a.Tx, t.Nonce, t.Key)
		t.Attempts = append(t.Attempts, a)
		return err
	})
	if err != nil {
		return err
	}
	for _, t := range all {
		slices.SortFunc(t.Attempts, func(a, b transaction.Attempt) int { return a.Number - b.Number })
	}
	err = run(conn, "SELECT nonce, status, sent, attempt, success, block, hash, gas, fee FROM fates WHERE key = ? AND nonce BETWEEN ? AND ?", bind, func(s *sqlite.Stmt) error {
		at(uint64(s.ColumnInt64(0))).Fate = fateRow(s)
		return nil
	})
	if err != nil {
		return err
	}
	_, err = queryRow(conn, "SELECT settled FROM keys WHERE seq = ?", func(s *sqlite.Stmt) { s.BindInt64(1, seq) }, func(s *sqlite.Stmt) { settle(all, uint64(s.ColumnInt64(0))) })
	return err
}

func fateRow(s *sqlite.Stmt) transaction.Fate {
	f := transaction.Fate{
		Status: transaction.Status(s.ColumnText(1)), Attempt: s.ColumnInt(3), Success: s.ColumnBool(4), Block: uint64(s.ColumnInt64(5)),
		Hash: hashColumn(s, 6), GasUsed: uint64(s.ColumnInt64(7)),
	}
	if at := s.ColumnInt64(2); at != 0 {
		f.Sent = time.UnixMicro(at)
	}
	if fee, ok := new(big.Int).SetString(s.ColumnText(8), 10); ok {
		f.Fee = fee
	}
	return f
}

// Find reads the transactions of steps.
func (t *Transactions) Find(ctx context.Context, steps []signer.Step) (map[signer.Step]transaction.Transaction, error) {
	found := make(map[signer.Step]transaction.Transaction, len(steps))
	err := t.db.view(ctx, func(conn *sqlite.Conn) error {
		ids := map[int64]string{}
		for _, step := range steps {
			tx, known, err := readTransaction(conn, step, ids)
			if err != nil {
				return err
			}
			if known {
				found[step] = tx
			}
		}
		return nil
	})
	return found, err
}

// readTransaction reads one; ids are those of the keys that were met before.
func readTransaction(conn *sqlite.Conn, step signer.Step, ids map[int64]string) (tx transaction.Transaction, found bool, err error) {
	var seq int64
	var failure error
	found, err = queryRow(conn, decisionColumns+"WHERE message = ? AND state = ?", func(s *sqlite.Stmt) {
		s.BindText(1, string(step.Message))
		s.BindText(2, step.State)
	}, func(s *sqlite.Stmt) {
		seq = s.ColumnInt64(6)
		tx, failure = decided(s, "")
	})
	if err == nil {
		err = failure
	}
	if err != nil || !found {
		return tx, false, err
	}
	if ids[seq] == "" {
		if _, err = queryRow(conn, "SELECT id FROM keys WHERE seq = ?", func(s *sqlite.Stmt) { s.BindInt64(1, seq) }, func(s *sqlite.Stmt) { ids[seq] = s.ColumnText(0) }); err != nil {
			return tx, false, err
		}
	}
	tx.Key = ids[seq]
	one := []transaction.Transaction{tx}
	err = complete(conn, seq, one)
	return one[0], true, err
}

// Events reads what happened to a transaction.
func (t *Transactions) Events(ctx context.Context, keyID string, nonce uint64) (events []transaction.Event, err error) {
	err = t.db.view(ctx, func(conn *sqlite.Conn) error {
		seq, err := keySeq(conn, keyID)
		if err != nil {
			return err
		}
		return run(conn, "SELECT what, by, why, at FROM transaction_events WHERE key = ? AND nonce = ? ORDER BY seq", func(s *sqlite.Stmt) {
			s.BindInt64(1, seq)
			s.BindInt64(2, int64(nonce))
		}, func(s *sqlite.Stmt) error {
			events = append(events, transaction.Event{Nonce: nonce, What: s.ColumnText(0), By: s.ColumnText(1), Why: s.ColumnText(2), At: time.UnixMicro(s.ColumnInt64(3))})
			return nil
		})
	})
	return events, err
}

// ByHash looks at the decisions first: most hashes are theirs.
func (t *Transactions) ByHash(ctx context.Context, hash string) (found transaction.Transaction, err error) {
	err = t.db.view(ctx, func(conn *sqlite.Conn) error {
		seq, nonce, known := int64(0), uint64(0), false
		for _, table := range []string{"decisions", "attempts"} {
			err := run(conn, "SELECT key, nonce FROM "+table+" WHERE substr(hash, 1, 8) = substr(?1, 1, 8) AND hash = ?1 AND hash IS NOT NULL",
				func(s *sqlite.Stmt) { bindHash(s, 1, hash) },
				func(s *sqlite.Stmt) error {
					seq, nonce, known = s.ColumnInt64(0), uint64(s.ColumnInt64(1)), true
					return nil
				})
			if err != nil {
				return err
			}
		}
		if !known {
			return problem.New(transaction.ErrUnknown.Kind, transaction.ErrUnknown.Code, "Aval never decided a transaction with the hash %s", hash)
		}
		keyID := ""
		if _, err := queryRow(conn, "SELECT id FROM keys WHERE seq = ?", func(s *sqlite.Stmt) { s.BindInt64(1, seq) }, func(s *sqlite.Stmt) { keyID = s.ColumnText(0) }); err != nil {
			return err
		}
		one, err := readRange(conn, seq, keyID, nonce, 1)
		if err == nil {
			found = one[0]
		}
		return err
	})
	return found, err
}

// ByMessage finds the states that decided, and then each of them.
func (t *Transactions) ByMessage(ctx context.Context, id message.ID) ([]transaction.Transaction, error) {
	var steps []signer.Step
	err := t.db.view(ctx, func(conn *sqlite.Conn) error {
		return run(conn, "SELECT state FROM decisions WHERE message = ? ORDER BY state", func(s *sqlite.Stmt) { s.BindText(1, string(id)) }, func(s *sqlite.Stmt) error {
			steps = append(steps, signer.Step{Message: id, State: s.ColumnText(0)})
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	found, err := t.Find(ctx, steps)
	all := make([]transaction.Transaction, 0, len(steps))
	for _, step := range steps {
		all = append(all, found[step])
	}
	return all, err
}
