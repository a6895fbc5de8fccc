package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/transaction"
)

// Replace commits an attempt with its event, while the key's row is locked.
func (t *Transactions) Replace(ctx context.Context, keyID string, nonce uint64, a transaction.Attempt) error {
	if a.Kind == transaction.NoOp && a.Tx.Value == nil {
		a.Tx.Value = new(big.Int)
	}
	body, err := json.Marshal(a.Tx)
	if err != nil {
		return fmt.Errorf("encode attempt %d for nonce %d of the key %s: %w", a.Number, nonce, keyID, err)
	}
	return t.db.transaction(ctx, "transactions.replace", func(tx pgx.Tx) error {
		seq, settled, err := admitting(ctx, tx, keyID)
		if err != nil {
			return err
		}
		before, err := t.read(ctx, tx, rangeSQL, seq, int64(nonce), 1)
		if err == nil && (len(before) == 0 || before[0].Nonce != nonce) {
			return fill(ctx, tx, seq, keyID, nonce, a, body)
		}
		if err == nil {
			err = transaction.Admit(before[0].Transaction, settled, a)
		}
		if err != nil {
			return err
		}
		var b pgx.Batch
		b.Queue("INSERT INTO attempts (key, nonce, number, kind, tx, by, why, decided) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
			seq, int64(nonce), a.Number, string(a.Kind), body, clean(a.By), clean(a.Why), micros(a.At))
		queueEvents(&b, seq, []transaction.Event{a.Event(nonce)})
		return tx.SendBatch(ctx, &b).Close()
	})
}

// fill makes the decision for a nonce that nobody decided, with its event.
func fill(ctx context.Context, tx pgx.Tx, seq int64, keyID string, nonce uint64, a transaction.Attempt, body []byte) error {
	address, next := "", int64(0)
	if err := tx.QueryRow(ctx, "SELECT address, nonce FROM keys WHERE seq = $1", seq).Scan(&address, &next); err != nil {
		return err
	}
	if err := transaction.AdmitFill(keyID, address, nonce, uint64(next), a); err != nil {
		return err
	}
	step := transaction.FillStep(keyID, nonce)
	var b pgx.Batch
	b.Queue("INSERT INTO decisions (message, state, key, nonce, fence, tx) SELECT $1, $2, seq, $3, fence, $4 FROM keys WHERE seq = $5",
		string(step.Message), step.State, int64(nonce), body, seq)
	queueEvents(&b, seq, []transaction.Event{a.Event(nonce)})
	return tx.SendBatch(ctx, &b).Close()
}

// admitting locks a key and tells how far it is settled; one that is set aside decides nothing.
func admitting(ctx context.Context, tx pgx.Tx, keyID string) (seq int64, settled uint64, err error) {
	aside := ""
	err = tx.QueryRow(ctx, "SELECT seq, settled, CASE status WHEN 'quarantined' THEN reason ELSE '' END FROM keys WHERE id = $1 FOR NO KEY UPDATE", clean(keyID)).Scan(&seq, &settled, &aside)
	switch {
	case isNone(err):
		err = problem.New(transaction.ErrUnknown.Kind, transaction.ErrUnknown.Code, "there is no key %s, so it has no transactions", keyID)
	case err == nil && aside != "":
		err = problem.New(transaction.ErrHalted.Kind, transaction.ErrHalted.Code, "the key %s is set aside and decides nothing: %s", keyID, aside)
	}
	return seq, settled, err
}

func queueEvents(b *pgx.Batch, seq int64, events []transaction.Event) {
	var c columns
	for i, e := range events {
		c.add(int64(i), int64(e.Nonce), clean(e.What), clean(e.By), clean(e.Why), micros(e.At))
	}
	if c != nil {
		b.Queue(`INSERT INTO transaction_events (key, nonce, what, by, why, at) SELECT $1, nonce, what, by, why, at
			FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::bigint[]) AS e(n, nonce, what, by, why, at) ORDER BY n`, append(columns{seq}, c...)...)
	}
}

// Seal keeps the bytes of an attempt, once.
func (t *Transactions) Seal(ctx context.Context, keyID string, nonce uint64, number int, signed chain.Signed) (kept chain.Signed, err error) {
	if signed.Hash == "" || len(signed.Raw) == 0 {
		return signed, problem.New(signer.ErrUndecided.Kind, signer.ErrUndecided.Code, "there are no signed bytes to store for attempt %d of nonce %d of the key %s", number, nonce, keyID)
	}
	err = t.db.transaction(ctx, "transactions.seal", func(tx pgx.Tx) error {
		seq, err := keySeq(ctx, tx, keyID, "")
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO attempt_signatures (key, nonce, number, hash, raw)
			SELECT key, nonce, number, $4, $5 FROM attempts WHERE key = $1 AND nonce = $2 AND number = $3 ON CONFLICT DO NOTHING`, seq, int64(nonce), number, clean(signed.Hash), signed.Raw); err != nil {
			return err
		}
		err = tx.QueryRow(ctx, "SELECT hash, raw FROM attempt_signatures WHERE key = $1 AND nonce = $2 AND number = $3", seq, int64(nonce), number).Scan(&kept.Hash, &kept.Raw)
		if isNone(err) { // A28
			err = problem.New(signer.ErrUndecided.Kind, signer.ErrUndecided.Code, "nobody decided attempt %d for nonce %d of the key %s; its bytes are not kept", number, nonce, keyID)
		}
		return err
	})
	return kept, err
}

const fatesSQL = `INSERT INTO fates (key, nonce, status, sent, attempt, success, block, hash, gas, fee)
	SELECT $1, * FROM unnest($2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::bool[], $7::bigint[], $8::text[], $9::bigint[], $10::text[])
	ON CONFLICT (key, nonce) DO UPDATE SET status = excluded.status, sent = excluded.sent, attempt = excluded.attempt, success = excluded.success,
	block = excluded.block, hash = excluded.hash, gas = excluded.gas, fee = excluded.fee`

// Mark records what a look found out, in one round trip.
func (t *Transactions) Mark(ctx context.Context, keyID string, m transaction.Marks) error {
	return t.db.transaction(ctx, "transactions.mark", func(tx pgx.Tx) error {
		seq, err := keySeq(ctx, tx, keyID, " FOR NO KEY UPDATE")
		if err != nil {
			return err
		}
		if m.Unknown {
			if err := stillUnknown(ctx, tx, seq, m); err != nil {
				return err
			}
		}
		var b pgx.Batch
		var c columns
		for _, nonce := range slices.Sorted(maps.Keys(m.Fates)) {
			f := m.Fates[nonce]
			fee := ""
			if f.Fee != nil {
				fee = f.Fee.String()
			}
			c.add(int64(nonce), string(f.Status), optional(f.Sent), int64(f.Attempt), f.Success, int64(f.Block), clean(f.Hash), int64(f.GasUsed), fee)
		}
		if c != nil {
			b.Queue(fatesSQL, append(columns{seq}, c...)...)
		}
		queueEvents(&b, seq, m.Events)
		b.Queue("UPDATE keys SET settled = $1 WHERE seq = $2 AND settled < $1", int64(m.Settled), seq)
		return tx.SendBatch(ctx, &b).Close()
	})
}

// stillUnknown checks that each fate replaces unknown. The lane's row is locked, so nobody records another one before the end.
func stillUnknown(ctx context.Context, tx pgx.Tx, seq int64, m transaction.Marks) error {
	nonces := make([]int64, 0, len(m.Fates))
	for nonce := range m.Fates {
		nonces = append(nonces, int64(nonce))
	}
	var n int
	err := tx.QueryRow(ctx, "SELECT count(*) FROM fates WHERE key = $1 AND nonce = ANY($2) AND status = 'unknown'", seq, nonces).Scan(&n)
	if err == nil && n < len(nonces) {
		err = transaction.ErrKnown
	}
	return err
}
