package postgres

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/bus"
	"github.com/avalhq/aval/internal/problem"
)

// member reads the partitions of topics that it holds.
type member struct {
	db     *DB
	group  string
	topics []string

	mu     sync.Mutex
	id     int64
	held   map[shard]*reading
	tended time.Time // when it last looked at the group
	turn   int       // with which partition the next read begins, so that none waits for ever
	closed bool
}

// reading is how far a member is in a partition.
type reading struct {
	term    int64
	given   int64     // the last record that was given
	done    int64     // the last one that was committed
	leaving time.Time // since when others are owed this partition; zero when they are not
}

var errLeft = problem.New(problem.Conflict, "bus-member-closed", "the member of the group has been closed; join again")

// enlist makes the member known to its group. An instance that was struck off has to come back first.
func (m *member) enlist(ctx context.Context) error {
	err := m.db.pool.QueryRow(ctx, "INSERT INTO bus_members (name, instance) SELECT $1, id FROM instances WHERE id = $2 FOR KEY SHARE RETURNING id", m.group, m.db.instance.id).Scan(&m.id)
	if isNone(err) {
		return m.db.away()
	}
	return m.db.describe(err)
}

// Poll waits for records.
func (m *member) Poll(ctx context.Context, limit int) ([]bus.Record, error) {
	for {
		changed := m.db.commits() // taken before reading, so that nothing published by this process falls between
		records, err := m.poll(ctx, limit)
		if err != nil || len(records) > 0 {
			return records, err
		}
		if err := await(ctx, changed, tail); err != nil {
			return nil, err
		}
	}
}

func (m *member) poll(ctx context.Context, limit int) ([]bus.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, errLeft
	}
	if time.Since(m.tended) > busBeat {
		if err := m.tend(ctx); err != nil {
			return nil, err
		}
	}
	positions := m.positions()
	if positions == nil {
		return nil, ctx.Err()
	}
	records, err := m.db.fetch(ctx, positions, limit)
	if err != nil {
		return nil, err
	}
	for i := range records {
		r := m.held[shard{records[i].Topic, records[i].Partition}]
		r.given = max(r.given, records[i].Offset)
	}
	return records, nil
}

// positions are the arguments of the next read. It begins with another partition each time.
func (m *member) positions() (c columns) {
	var open []shard
	for p, r := range m.held {
		if r.leaving.IsZero() {
			open = append(open, p)
		}
	}
	slices.SortFunc(open, byShard)
	m.turn++
	for i := range open {
		p := open[(i+m.turn)%len(open)]
		c.add(p.topic, int64(p.partition), m.held[p].given)
	}
	return c
}

func byShard(a, b shard) int {
	return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.partition, b.partition))
}

const (
	// claimBusSQL takes free partitions up to the share. The member's row is locked, so that it cannot be struck off between.
	claimBusSQL = `WITH me AS (
		SELECT id FROM bus_members WHERE id = $1 FOR KEY SHARE
	), free AS (
		SELECT f.* FROM me, LATERAL (SELECT topic, partition FROM bus_offsets WHERE name = $2 AND topic = ANY ($3) AND member = 0 ORDER BY topic, partition LIMIT $4 FOR NO KEY UPDATE SKIP LOCKED) f
	)
	UPDATE bus_offsets o SET member = $1, term = o.term + 1 FROM free WHERE o.name = $2 AND o.topic = free.topic AND o.partition = free.partition`
	holdingsSQL = "SELECT topic, partition, done, term FROM bus_offsets WHERE name = $1 AND member = $2 AND topic = ANY ($3)"
	membersSQL  = "SELECT count(*), count(*) FILTER (WHERE id < $2), coalesce(bool_or(id = $2), false) FROM bus_members WHERE name = $1"
	releaseSQL  = `UPDATE bus_offsets o SET member = 0, term = o.term + 1 FROM unnest($3::text[], $4::bigint[]) AS t(topic, partition)
		WHERE o.name = $1 AND o.member = $2 AND o.topic = t.topic AND o.partition = t.partition`
	commitBusSQL = `UPDATE bus_offsets o SET done = greatest(o.done, t.done) FROM unnest($3::text[], $4::bigint[], $5::bigint[]) AS t(topic, partition, done)
		WHERE o.name = $1 AND o.member = $2 AND o.topic = t.topic AND o.partition = t.partition`
)

// tend looks at the group: hands over what others are owed, takes what is free, and forgets what was taken away.
func (m *member) tend(ctx context.Context) error {
	var members, earlier int
	var listed bool
	if err := m.db.lazy.QueryRow(ctx, membersSQL, m.group, m.id).Scan(&members, &earlier, &listed); err != nil {
		return m.db.describe(err)
	}
	if !listed {
		if err := m.enlist(ctx); err != nil {
			return err
		}
		members, earlier = members+1, members
	}
	share := fair(len(m.topics)*partitions, members, earlier)
	if err := m.handOver(ctx, share); err != nil {
		return err
	}
	if free := share - len(m.held); free > 0 {
		if _, err := m.db.lazy.Exec(ctx, claimBusSQL, m.id, m.group, m.topics, free); err != nil {
			return m.db.describe(err)
		}
	}
	err := m.recount(ctx)
	if err == nil {
		m.tended = time.Now()
	}
	return err
}

// fair is how many of all partitions a member has: as many as every other, and one more for each of the first where that leaves some.
func fair(all, members, earlier int) int {
	share := all / members
	if earlier < all%members {
		share++
	}
	return share
}

// handOver gives up what is above the share: at once where everything given was committed, and else after a while.
func (m *member) handOver(ctx context.Context, share int) error {
	var free columns
	for i, p := range slices.SortedFunc(maps.Keys(m.held), byShard) {
		r := m.held[p]
		switch {
		case i < share:
			r.leaving = time.Time{}
			continue
		case r.leaving.IsZero():
			r.leaving = time.Now()
		}
		if r.done >= r.given || time.Since(r.leaving) > busGrace {
			free.add(p.topic, int64(p.partition))
			delete(m.held, p)
		}
	}
	if free == nil {
		return nil
	}
	_, err := m.db.lazy.Exec(ctx, releaseSQL, append(columns{m.group, m.id}, free...)...)
	return m.db.describe(err)
}

// holding is a row of bus_offsets.
type holding struct {
	Topic      string
	Partition  int32
	Done, Term int64
}

// recount compares what is held with the table. A partition that has another term was away meanwhile: it is read from where the
// group has come to.
func (m *member) recount(ctx context.Context) error {
	list, err := rows(ctx, m.db, m.db.lazy, pgx.RowToStructByPos[holding], holdingsSQL, m.group, m.id, m.topics)
	if err != nil {
		return err
	}
	held := make(map[shard]*reading, len(list))
	for _, h := range list {
		p := shard{h.Topic, h.Partition}
		if r := m.held[p]; r != nil && r.term == h.Term {
			held[p] = r
		} else {
			held[p] = &reading{term: h.Term, given: h.Done, done: h.Done}
		}
	}
	m.held = held
	return nil
}

// Commit moves the group's offsets in the partitions that are still held.
func (m *member) Commit(ctx context.Context, done []bus.Record) error {
	if len(done) == 0 {
		return nil
	}
	last := map[shard]int64{}
	for i := range done {
		p := shard{done[i].Topic, done[i].Partition}
		last[p] = max(last[p], done[i].Offset)
	}
	m.mu.Lock()
	id := m.id
	m.mu.Unlock()
	var c columns
	for _, p := range slices.SortedFunc(maps.Keys(last), byShard) { // in one order, so that two commits do not deadlock
		c.add(p.topic, int64(p.partition), last[p])
	}
	err := m.db.update(ctx, "bus.commit", func() error {
		_, err := m.db.lazy.Exec(ctx, commitBusSQL, append(columns{m.group, id}, c...)...)
		return err
	})
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for p, offset := range last {
		if r := m.held[p]; r != nil {
			r.done = max(r.done, offset)
		}
	}
	return nil
}

// Close leaves the group.
func (m *member) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := pgx.BeginFunc(ctx, m.db.lazy, func(tx pgx.Tx) error { return dismiss(ctx, tx, "id", m.id) })
	m.db.announce()
	return m.db.describe(err)
}

// dismiss strikes members from the list, whose column is that, and frees what they held. First the one and then the other: a member
// that is taking a partition now has it when the list is free.
func dismiss(ctx context.Context, tx pgx.Tx, column string, is int64) error {
	result, err := tx.Query(ctx, "DELETE FROM bus_members WHERE "+column+" = $1 RETURNING id", is)
	if err != nil {
		return err
	}
	gone, err := pgx.CollectRows(result, pgx.RowTo[int64])
	if err != nil || len(gone) == 0 {
		return err
	}
	_, err = tx.Exec(ctx, "UPDATE bus_offsets SET member = 0, term = term + 1 WHERE member = ANY ($1)", gone)
	return err
}
