package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"math/big"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/transaction"
)

// Transactions serves transaction.Store and transaction.Journal, from the same database as Decisions: a decision is a
// transaction's first attempt.
type Transactions struct{ db *DB }

// NewTransactions uses the system of record.
func NewTransactions(db *DB) *Transactions { return &Transactions{db} }

// Lanes reads the keys that have decided more than is settled.
func (t *Transactions) Lanes(ctx context.Context, chain string) ([]transaction.Lane, error) {
	return rows(ctx, t.db, t.db.pool, pgx.RowToStructByPos[transaction.Lane],
		"SELECT id, chain, address, nonce, settled, CASE status WHEN 'quarantined' THEN reason ELSE '' END FROM keys WHERE chain = $1 AND settled < nonce ORDER BY id", clean(chain))
}

// keySeq reads, and locks where lock says so, the row number of a key.
func keySeq(ctx context.Context, from querier, keyID, lock string) (seq int64, err error) {
	found, err := from.Query(ctx, "SELECT seq FROM keys WHERE id = $1"+lock, clean(keyID))
	if err != nil {
		return 0, err
	}
	if seq, err = pgx.CollectExactlyOneRow(found, pgx.RowTo[int64]); isNone(err) {
		err = problem.New(transaction.ErrUnknown.Kind, transaction.ErrUnknown.Code, "there is no key %s, so it has no transactions", keyID)
	}
	return seq, err
}

const (
	transactionSQL = `SELECT d.message, d.state, d.nonce, d.tx, coalesce(s.hash, ''), s.raw, d.key, k.id,
		coalesce(f.status, ''), f.sent, coalesce(f.attempt, 0), coalesce(f.success, false), coalesce(f.block, 0), coalesce(f.hash, ''), coalesce(f.gas, 0), coalesce(f.fee, ''), d.nonce < k.settled
		FROM decisions d JOIN keys k ON k.seq = d.key LEFT JOIN signatures s ON s.decision = d.seq LEFT JOIN fates f ON f.key = d.key AND f.nonce = d.nonce `
	attemptSQL = `SELECT a.key, a.nonce, a.number, a.kind, a.tx, a.by, a.why, a.decided, coalesce(s.hash, ''), s.raw
		FROM attempts a JOIN unnest($1::bigint[], $2::bigint[]) AS t(key, nonce) ON t.key = a.key AND t.nonce = a.nonce
		LEFT JOIN attempt_signatures s ON s.key = a.key AND s.nonce = a.nonce AND s.number = a.number ORDER BY a.key, a.nonce, a.number`
)

// spot names a transaction by its key's row and nonce.
type spot struct{ key, nonce int64 }

// found is a transaction with its place.
type found struct {
	transaction.Transaction
	at spot
}

// transactionRow reads the columns of transactionSQL.
func transactionRow(row pgx.CollectableRow) (t found, err error) {
	var tx []byte
	var sent *int64
	var fee string
	first := transaction.Attempt{Kind: transaction.First}
	f := &t.Fate
	if err := row.Scan(&t.Step.Message, &t.Step.State, &t.at.nonce, &tx, &first.Signed.Hash, &first.Signed.Raw, &t.at.key, &t.Key,
		&f.Status, &sent, &f.Attempt, &f.Success, &f.Block, &f.Hash, &f.GasUsed, &fee, &t.Settled); err != nil {
		return t, err
	}
	t.Nonce = uint64(t.at.nonce)
	if sent != nil {
		f.Sent = timeOf(sent).Local()
	}
	if paid, ok := new(big.Int).SetString(fee, 10); ok {
		f.Fee = paid
	}
	err = unmarshalTx(tx, &first.Tx, t.Nonce, t.Key)
	t.Attempts = []transaction.Attempt{first}
	return t, err
}

func unmarshalTx(raw []byte, tx *chain.Unsigned, nonce uint64, keyID string) error {
	if err := json.Unmarshal(raw, tx); err != nil {
		return fmt.Errorf("read the transaction with nonce %d of the key %s: %w", nonce, keyID, err)
	}
	return nil
}

// read runs a query for transactionSQL and adds the attempts that came after the decisions, from one snapshot.
func (t *Transactions) read(ctx context.Context, tx pgx.Tx, rest string, args ...any) ([]found, error) {
	list, err := rows(ctx, t.db, tx, transactionRow, transactionSQL+rest, args...)
	if err != nil || len(list) == 0 {
		return list, err
	}
	var places columns
	index := map[spot]int{}
	for i := range list {
		places.add(list[i].at.key, list[i].at.nonce)
		index[list[i].at] = i
	}
	_, err = rows(ctx, t.db, tx, func(row pgx.CollectableRow) (a transaction.Attempt, err error) {
		var at spot
		var body []byte
		var decided int64
		if err := row.Scan(&at.key, &at.nonce, &a.Number, &a.Kind, &body, &a.By, &a.Why, &decided, &a.Signed.Hash, &a.Signed.Raw); err != nil {
			return a, err
		}
		of := &list[index[at]]
		a.At = timeOf(&decided).Local()
		err = unmarshalTx(body, &a.Tx, of.Nonce, of.Key)
		of.Attempts = append(of.Attempts, a)
		return a, err
	}, attemptSQL, places...)
	return list, err
}

// view reads in one snapshot.
func (t *Transactions) view(ctx context.Context, read func(pgx.Tx) error) error {
	return t.db.describe(pgx.BeginTxFunc(ctx, t.db.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, read))
}

const rangeSQL = "WHERE d.key = $1 AND d.nonce >= $2 ORDER BY d.nonce LIMIT $3"

// Range reads a part of a lane.
func (t *Transactions) Range(ctx context.Context, keyID string, from uint64, limit int) (all []transaction.Transaction, err error) {
	err = t.view(ctx, func(tx pgx.Tx) error {
		seq, err := keySeq(ctx, tx, keyID, "")
		if err != nil {
			return err
		}
		list, err := t.read(ctx, tx, rangeSQL, seq, int64(from), limit)
		for _, one := range list {
			all = append(all, one.Transaction)
		}
		return err
	})
	return all, err
}

// Find reads the transactions of steps.
func (t *Transactions) Find(ctx context.Context, steps []signer.Step) (map[signer.Step]transaction.Transaction, error) {
	messages, states := make([]string, len(steps)), make([]string, len(steps))
	for i, step := range steps {
		messages[i], states[i] = string(step.Message), clean(step.State)
	}
	all := make(map[signer.Step]transaction.Transaction, len(steps))
	err := t.view(ctx, func(tx pgx.Tx) error {
		list, err := t.read(ctx, tx, "JOIN unnest($1::text[], $2::text[]) AS w(message, state) ON w.message = d.message AND w.state = d.state", messages, states)
		for _, one := range list {
			all[one.Step] = one.Transaction
		}
		return err
	})
	return all, err
}

// Events reads what happened to a transaction.
func (t *Transactions) Events(ctx context.Context, keyID string, nonce uint64) ([]transaction.Event, error) {
	seq, err := keySeq(ctx, t.db.pool, keyID, "")
	if err != nil {
		return nil, t.db.describe(err)
	}
	return rows(ctx, t.db, t.db.pool, func(row pgx.CollectableRow) (e transaction.Event, err error) {
		var at int64
		err = row.Scan(&e.What, &e.By, &e.Why, &at)
		e.Nonce, e.At = nonce, timeOf(&at).Local()
		return e, err
	}, "SELECT what, by, why, at FROM transaction_events WHERE key = $1 AND nonce = $2 ORDER BY seq", seq, int64(nonce))
}

// ByHash finds the transaction that an attempt with the hash belongs to.
func (t *Transactions) ByHash(ctx context.Context, hash string) (answer transaction.Transaction, err error) {
	err = t.view(ctx, func(tx pgx.Tx) error {
		list, err := t.read(ctx, tx, `WHERE s.hash = $1 OR (d.key, d.nonce) IN (SELECT key, nonce FROM attempt_signatures WHERE hash = $1)`, clean(hash))
		if err == nil && len(list) == 0 {
			err = problem.New(transaction.ErrUnknown.Kind, transaction.ErrUnknown.Code, "Aval never decided a transaction with the hash %s", hash)
		}
		if err == nil {
			answer = list[0].Transaction
		}
		return err
	})
	return answer, err
}

// ByMessage lists what was decided for a message.
func (t *Transactions) ByMessage(ctx context.Context, id message.ID) (all []transaction.Transaction, err error) {
	err = t.view(ctx, func(tx pgx.Tx) error {
		list, err := t.read(ctx, tx, "WHERE d.message = $1 ORDER BY d.state", string(id))
		for _, one := range list {
			all = append(all, one.Transaction)
		}
		return err
	})
	return all, err
}
