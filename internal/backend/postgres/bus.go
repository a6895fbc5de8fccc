package postgres

import (
	"context"
	"encoding/json"
	"hash/fnv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/bus"
	"github.com/avalhq/aval/internal/lifecycle"
)

// Bus serves bus.Bus from a table of records, for clusters that have no other bus. Records are read as events of the outbox are:
// below the oldest transaction that still runs, so that none is passed by (I16). Each topic has the same number of partitions, and
// a key is in one of them for ever; who reads a partition for a group stands in a row, as does how far it has come.
//
// The members of a group see each other within half a second and share the partitions evenly. The partitions of a member whose
// process has ended are free as soon as its instance is struck off. Offsets wait for no disk: a server that crashes may give
// records again.
type Bus struct{ db *DB }

// NewBus uses the system of record.
func NewBus(db *DB) *Bus { return &Bus{db} }

const (
	partitions    = 16                     // of each topic; a key keeps its partition, so this number never changes
	mostPublished = 5000                   // records a statement
	busBeat       = 500 * time.Millisecond // between two looks at who else is in the group
	busGrace      = 5 * time.Second        // for a member to commit what it has been given of a partition that it is to hand over
)

const publishSQL = `INSERT INTO bus_records (topic, partition, seq, key, value, headers, at)
	SELECT topic, partition, (pg_current_xact_id()::text::bigint << 20) + n, key, value, headers, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
	FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::text[], $5::bytea[], $6::bytea[]) AS t(n, topic, partition, key, value, headers)`

// Publish appends the records, some thousands in each statement.
func (b *Bus) Publish(ctx context.Context, records []bus.Record) error {
	for len(records) > 0 {
		n := min(len(records), mostPublished)
		if err := b.publish(ctx, records[:n]); err != nil {
			return err
		}
		records = records[n:]
	}
	return nil
}

func (b *Bus) publish(ctx context.Context, records []bus.Record) error {
	var c columns
	for i := range records {
		r := &records[i]
		headers, err := encodeHeaders(r.Headers)
		if err != nil {
			return err
		}
		value := r.Value
		if value == nil {
			value = []byte{}
		}
		c.add(int64(i), r.Topic, int64(partitionOf(r.Key)), clean(r.Key), value, headers)
	}
	err := b.db.update(ctx, "bus.publish", func() error {
		_, err := b.db.pool.Exec(ctx, publishSQL, c...)
		return err
	})
	b.db.announce()
	return err
}

func encodeHeaders(headers map[string]string) ([]byte, error) {
	if len(headers) == 0 {
		return nil, nil
	}
	return json.Marshal(headers)
}

func partitionOf(key string) int32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key)) // cannot fail
	return int32(h.Sum32() % partitions)
}

// shard is a partition of a topic.
type shard struct {
	topic     string
	partition int32
}

func shards(topics []string) (all []shard) {
	for _, topic := range topics {
		for p := range int32(partitions) {
			all = append(all, shard{topic, p})
		}
	}
	return all
}

// Join makes a member. Its first partitions it gets when it polls.
func (b *Bus) Join(ctx context.Context, group string, topics ...string) (bus.Member, error) {
	m := &member{db: b.db, group: group, topics: topics, held: map[shard]*reading{}}
	var c columns
	for _, p := range shards(topics) {
		c.add(group, p.topic, int64(p.partition))
	}
	_, err := b.db.pool.Exec(ctx, "INSERT INTO bus_offsets (name, topic, partition) SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[]) ON CONFLICT DO NOTHING", c...)
	if err != nil {
		return nil, b.db.describe(err)
	}
	return m, m.enlist(ctx)
}

const backlogsSQL = `SELECT o.name, o.topic, sum(behind.n)::bigint FROM bus_offsets o,
		LATERAL (SELECT count(*) AS n FROM (SELECT 1 FROM bus_records r WHERE r.topic = o.topic AND r.partition = o.partition AND r.seq > o.done LIMIT 10000) r) behind
	GROUP BY o.name, o.topic ORDER BY o.name, o.topic`

// Backlogs counts, up to ten thousand in each partition.
func (b *Bus) Backlogs(ctx context.Context) ([]bus.Backlog, error) {
	return rows(ctx, b.db, b.db.lazy, pgx.RowToStructByPos[bus.Backlog], backlogsSQL)
}

// trimEvery is how often each process looks for records that nobody needs.
const trimEvery = time.Minute

// How long records are kept: for a while, for groups that are made later; then until every group has committed them, but no longer
// than a week, because of groups that have gone for good.
const (
	keptLeast = 10 * time.Minute
	keptMost  = 7 * 24 * time.Hour
)

// trimBusSQL removes some of the oldest records of each partition.
const trimBusSQL = `WITH low AS (
	SELECT topic, partition, min(done) AS done FROM bus_offsets GROUP BY topic, partition
), old AS (
	SELECT w.topic, w.partition, r.seq FROM unnest($1::text[], $2::bigint[]) AS w(topic, partition) LEFT JOIN low USING (topic, partition),
		LATERAL (SELECT seq, at FROM bus_records r WHERE r.topic = w.topic AND r.partition = w.partition ORDER BY seq LIMIT 1000) r
	WHERE r.at < $4 OR r.at < $3 AND r.seq <= coalesce(low.done, r.seq)
)
DELETE FROM bus_records r USING old WHERE r.topic = old.topic AND r.partition = old.partition AND r.seq = old.seq`

// trimming removes what nobody needs any more, until ctx ends. What it fails to remove it removes the next time.
func (db *DB) trimming(ctx context.Context) {
	for lifecycle.Sleep(ctx, trimEvery) == nil {
		for removed, err := db.trimBus(ctx, time.Now()); removed > 0 && err == nil; {
			removed, err = db.trimBus(ctx, time.Now())
		}
	}
}

func (db *DB) trimBus(ctx context.Context, now time.Time) (removed int64, err error) {
	var c columns
	for _, p := range shards(bus.Topics()) {
		c.add(p.topic, int64(p.partition))
	}
	tag, err := db.lazy.Exec(ctx, trimBusSQL, append(c, micros(now.Add(-keptLeast)), micros(now.Add(-keptMost)))...)
	return tag.RowsAffected(), err
}

// busRow is a row of bus_records.
type busRow struct {
	Topic     string
	Partition int32
	Seq       int64
	Key       string
	Value     []byte
	Headers   []byte
}

const busReadSQL = `SELECT r.topic, r.partition, r.seq, r.key, r.value, r.headers
	FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS w(topic, partition, after),
		LATERAL (SELECT * FROM bus_records r WHERE r.topic = w.topic AND r.partition = w.partition AND r.seq > w.after AND r.seq < ` + settledBelow + ` ORDER BY r.seq LIMIT $4) r
	LIMIT $4`

// fetch reads what follows the positions, a partition after the other.
func (db *DB) fetch(ctx context.Context, positions columns, limit int) ([]bus.Record, error) {
	list, err := rows(ctx, db, db.lazy, pgx.RowToStructByPos[busRow], busReadSQL, append(positions, limit)...)
	if err != nil {
		return nil, err
	}
	records := make([]bus.Record, len(list))
	for i, f := range list {
		records[i] = bus.Record{Topic: f.Topic, Key: f.Key, Value: f.Value, Partition: f.Partition, Offset: f.Seq}
		if f.Headers == nil {
			continue
		}
		if err := json.Unmarshal(f.Headers, &records[i].Headers); err != nil {
			return nil, err
		}
	}
	return records, nil
}
