package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/bus"
	"github.com/avalhq/aval/internal/problem"
)

// Parked serves bus.Parked.
type Parked struct{ db *DB }

// NewParked uses the system of record.
func NewParked(db *DB) *Parked { return &Parked{db} }

const parkSQL = `INSERT INTO parked_records (reader, topic, partition, position, digest, key, value, headers, code, why, at)
	SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bytea[], $6::text[], $7::bytea[], $8::bytea[], $9::text[], $10::text[], $11::bigint[])
	ON CONFLICT DO NOTHING`

// Park keeps the records in one statement.
func (p *Parked) Park(ctx context.Context, records []bus.ParkedRecord) (fresh int, err error) {
	var c columns
	now := micros(time.Now())
	for _, r := range records {
		headers, err := encodeHeaders(r.Headers)
		if err != nil {
			return 0, err
		}
		value := r.Value
		if value == nil {
			value = []byte{}
		}
		digest := sha256.Sum256(append([]byte(r.Key+"\x00"), value...))
		c.add(clean(r.Group), clean(r.Topic), int64(r.Partition), r.Offset, digest[:], clean(r.Key), value, headers, clean(r.Code), clean(r.Why), now)
	}
	if c == nil {
		return 0, nil
	}
	err = p.db.update(ctx, "parked.park", func() error {
		tag, err := p.db.pool.Exec(ctx, parkSQL, c...)
		fresh = int(tag.RowsAffected())
		return err
	})
	if err != nil {
		return 0, err
	}
	return fresh, nil
}

const parkedSQL = "SELECT id, reader, topic, partition, position, key, value, headers, code, why, at FROM parked_records WHERE ending = '' AND id "

func parkedRow(row pgx.CollectableRow) (r bus.ParkedRecord, err error) {
	var headers []byte
	var at int64
	if err := row.Scan(&r.ID, &r.Group, &r.Topic, &r.Partition, &r.Offset, &r.Key, &r.Value, &headers, &r.Code, &r.Why, &at); err != nil {
		return r, err
	}
	r.At = timeOf(&at).Local()
	if headers != nil {
		err = json.Unmarshal(headers, &r.Headers)
	}
	return r, err
}

// List reads a page of those that wait.
func (p *Parked) List(ctx context.Context, after int64, limit int) ([]bus.ParkedRecord, error) {
	return rows(ctx, p.db, p.db.pool, parkedRow, parkedSQL+"> $1 ORDER BY id LIMIT $2", after, limit)
}

// Get reads one that waits.
func (p *Parked) Get(ctx context.Context, id int64) (bus.ParkedRecord, error) {
	r, there, err := one(ctx, p.db, p.db.pool, parkedRow, parkedSQL+"= $1", id)
	if err == nil && !there {
		err = notParked(id)
	}
	return r, err
}

func notParked(id int64) error {
	return problem.New(bus.ErrNotParked.Kind, bus.ErrNotParked.Code, "there is no parked record %d, or somebody has dealt with it; aval bus parked list shows those that wait", id)
}

// End notes what was done with one that waits.
func (p *Parked) End(ctx context.Context, id int64, how bus.Ending, by string) error {
	return p.db.update(ctx, "parked.end", func() error {
		tag, err := p.db.pool.Exec(ctx, "UPDATE parked_records SET ending = $2, ended = $3, by = $4 WHERE id = $1 AND ending = ''", id, string(how), micros(time.Now()), clean(by))
		if err == nil && tag.RowsAffected() == 0 {
			err = notParked(id)
		}
		return err
	})
}

// Count counts those that wait.
func (p *Parked) Count(ctx context.Context) (int64, error) {
	n, _, err := one(ctx, p.db, p.db.pool, pgx.RowTo[int64], "SELECT count(*) FROM parked_records WHERE ending = ''")
	return n, err
}
