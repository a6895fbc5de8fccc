package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"

	"zombiezen.com/go/sqlite"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/transaction"
)

// Replace commits an attempt with its event.
func (t *Transactions) Replace(ctx context.Context, keyID string, nonce uint64, a transaction.Attempt) error {
	if a.Kind == transaction.NoOp && a.Tx.Value == nil {
		a.Tx.Value = new(big.Int)
	}
	body, err := json.Marshal(a.Tx)
	if err != nil {
		return fmt.Errorf("encode attempt %d for nonce %d of the key %s: %w", a.Number, nonce, keyID, err)
	}
	return t.db.update(ctx, "transactions.replace", func(conn *sqlite.Conn) error {
		seq, settled, err := admitting(conn, keyID)
		if err != nil {
			return err
		}
		before, err := readRange(conn, seq, keyID, nonce, 1)
		if err == nil && (len(before) == 0 || before[0].Nonce != nonce) {
			return fill(conn, seq, keyID, nonce, a, body)
		}
		if err == nil {
			err = transaction.Admit(before[0], settled, a)
		}
		if err != nil {
			return err
		}
		if err := insertAttempt(conn, seq, nonce, a, body); err != nil {
			return err
		}
		return insertEvent(conn, seq, a.Event(nonce))
	})
}

// fill makes the decision for a nonce that nobody decided, with its event.
func fill(conn *sqlite.Conn, seq int64, keyID string, nonce uint64, a transaction.Attempt, body []byte) error {
	row, err := readKey(conn, keyID)
	if err == nil {
		err = transaction.AdmitFill(keyID, row.Address, nonce, row.Nonce, a)
	}
	if err != nil {
		return err
	}
	step := transaction.FillStep(keyID, nonce)
	err = run(conn, "INSERT INTO decisions (message, state, key, nonce, fence, tx) SELECT ?, ?, seq, ?, fence, ? FROM keys WHERE seq = ?", func(s *sqlite.Stmt) {
		s.BindText(1, string(step.Message))
		s.BindText(2, step.State)
		s.BindInt64(3, int64(nonce))
		s.BindBytes(4, body)
		s.BindInt64(5, seq)
	}, nil)
	if err != nil {
		return err
	}
	return insertEvent(conn, seq, a.Event(nonce))
}

// admitting gives a key's row and how far it is settled; one that is set aside decides nothing.
func admitting(conn *sqlite.Conn, keyID string) (seq int64, settled uint64, err error) {
	aside := ""
	found, err := queryRow(conn, "SELECT seq, settled, iif(status = 'quarantined', reason, '') FROM keys WHERE id = ?", func(s *sqlite.Stmt) { s.BindText(1, keyID) },
		func(s *sqlite.Stmt) {
			seq, settled, aside = s.ColumnInt64(0), uint64(s.ColumnInt64(1)), s.ColumnText(2)
		})
	switch {
	case err != nil:
	case !found:
		err = problem.New(transaction.ErrUnknown.Kind, transaction.ErrUnknown.Code, "there is no key %s, so it has no transactions", keyID)
	case aside != "":
		err = problem.New(transaction.ErrHalted.Kind, transaction.ErrHalted.Code, "the key %s is set aside and decides nothing: %s", keyID, aside)
	}
	return seq, settled, err
}

func insertAttempt(conn *sqlite.Conn, seq int64, nonce uint64, a transaction.Attempt, body []byte) error {
	return run(conn, "INSERT INTO attempts (key, nonce, number, kind, tx, by, why, decided) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", func(s *sqlite.Stmt) {
		s.BindInt64(1, seq)
		s.BindInt64(2, int64(nonce))
		s.BindInt64(3, int64(a.Number))
		s.BindText(4, string(a.Kind))
		s.BindBytes(5, body)
		s.BindText(6, a.By)
		s.BindText(7, a.Why)
		s.BindInt64(8, micros(a.At))
	}, nil)
}

func insertEvent(conn *sqlite.Conn, seq int64, e transaction.Event) error {
	return run(conn, "INSERT INTO transaction_events (key, nonce, what, by, why, at) VALUES (?, ?, ?, ?, ?, ?)", func(s *sqlite.Stmt) {
		s.BindInt64(1, seq)
		s.BindInt64(2, int64(e.Nonce))
		s.BindText(3, e.What)
		s.BindText(4, e.By)
		s.BindText(5, e.Why)
		s.BindInt64(6, micros(e.At))
	}, nil)
}

// Seal keeps the bytes of an attempt, once.
func (t *Transactions) Seal(ctx context.Context, keyID string, nonce uint64, number int, signed chain.Signed) (kept chain.Signed, err error) {
	err = t.db.update(ctx, "transactions.seal", func(conn *sqlite.Conn) error {
		seq, err := keySeq(conn, keyID)
		if err != nil {
			return err
		}
		kept, err = seal(conn, seq, keyID, nonce, number, signed)
		return err
	})
	return kept, err
}

func seal(conn *sqlite.Conn, seq int64, keyID string, nonce uint64, number int, signed chain.Signed) (chain.Signed, error) {
	if signed.Hash == "" || len(signed.Raw) == 0 {
		return signed, problem.New(signer.ErrUndecided.Kind, signer.ErrUndecided.Code, "there are no signed bytes to store for attempt %d of nonce %d of the key %s", number, nonce, keyID)
	}
	which := func(s *sqlite.Stmt, from int) {
		s.BindInt64(from, seq)
		s.BindInt64(from+1, int64(nonce))
		s.BindInt64(from+2, int64(number))
	}
	err := run(conn, "UPDATE attempts SET hash = ?, raw = ? WHERE key = ? AND nonce = ? AND number = ? AND raw IS NULL", func(s *sqlite.Stmt) {
		bindHash(s, 1, signed.Hash)
		s.BindBytes(2, signed.Raw)
		which(s, 3)
	}, nil)
	if err != nil || conn.Changes() == 1 {
		return signed, err
	}
	found, err := queryRow(conn, "SELECT hash, raw FROM attempts WHERE key = ? AND nonce = ? AND number = ?", func(s *sqlite.Stmt) { which(s, 1) },
		func(s *sqlite.Stmt) { signed = chain.Signed{Hash: hashColumn(s, 0), Raw: blob(s, 1)} })
	if err == nil && !found { // A28
		err = problem.New(signer.ErrUndecided.Kind, signer.ErrUndecided.Code, "nobody decided attempt %d for nonce %d of the key %s; its bytes are not kept", number, nonce, keyID)
	}
	return signed, err
}

// Mark records what a look found out.
func (t *Transactions) Mark(ctx context.Context, keyID string, m transaction.Marks) error {
	return t.db.update(ctx, "transactions.mark", func(conn *sqlite.Conn) error {
		seq, err := keySeq(conn, keyID)
		if err != nil {
			return err
		}
		for _, nonce := range slices.Sorted(maps.Keys(m.Fates)) {
			if err := putFate(conn, seq, nonce, m.Fates[nonce], m.Unknown); err != nil {
				return err
			}
		}
		for _, e := range m.Events {
			if err := insertEvent(conn, seq, e); err != nil {
				return err
			}
		}
		return run(conn, "UPDATE keys SET settled = ?1 WHERE seq = ?2 AND settled < ?1", func(s *sqlite.Stmt) {
			s.BindInt64(1, int64(m.Settled))
			s.BindInt64(2, seq)
		}, nil)
	})
}

// putFate records a fate; unknown says that it has to replace one that is.
func putFate(conn *sqlite.Conn, seq int64, nonce uint64, f transaction.Fate, unknown bool) error {
	if unknown {
		found, err := queryRow(conn, "SELECT 1 FROM fates WHERE key = ? AND nonce = ? AND status = 'unknown'", func(s *sqlite.Stmt) {
			s.BindInt64(1, seq)
			s.BindInt64(2, int64(nonce))
		}, func(*sqlite.Stmt) {})
		if err != nil {
			return err
		}
		if !found {
			return transaction.ErrKnown
		}
	}
	sent := int64(0)
	if !f.Sent.IsZero() {
		sent = micros(f.Sent)
	}
	fee := ""
	if f.Fee != nil {
		fee = f.Fee.String()
	}
	return run(conn, `INSERT INTO fates (key, nonce, status, sent, attempt, success, block, hash, gas, fee) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (key, nonce) DO UPDATE SET status = excluded.status, sent = excluded.sent, attempt = excluded.attempt, success = excluded.success,
		block = excluded.block, hash = excluded.hash, gas = excluded.gas, fee = excluded.fee`, func(s *sqlite.Stmt) {
		s.BindInt64(1, seq)
		s.BindInt64(2, int64(nonce))
		s.BindText(3, string(f.Status))
		s.BindInt64(4, sent)
		s.BindInt64(5, int64(f.Attempt))
		s.BindBool(6, f.Success)
		s.BindInt64(7, int64(f.Block))
		bindHash(s, 8, f.Hash)
		s.BindInt64(9, int64(f.GasUsed))
		s.BindText(10, fee)
	}, nil)
}
