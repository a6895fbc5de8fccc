package kafka

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/avalhq/aval/internal/bus"
	"github.com/avalhq/aval/internal/problem"
)

// member reads topics with a client of its own. When one of them has been deleted and made anew, it begins again with another client.
type member struct {
	bus    *Bus
	group  string
	topics []string // as Kafka knows them

	committing sync.Mutex // one commit at a time, so that none takes another one back

	mu      sync.Mutex
	changed *sync.Cond // a partition was committed, or the member closed
	client  *kgo.Client
	held    map[partition]*reading
	closed  bool
}

// partition of a topic, as Kafka knows it.
type partition struct {
	topic string
	id    int32
}

// reading is how far a member is in a partition: the next records to be given and to be committed. Both are 0 until it is given one.
type reading struct{ given, done int64 }

// grace is how long a member that has to hand a partition over waits until what it was given is committed.
const grace = 5 * time.Second

var errLeft = problem.New(problem.Conflict, "bus-member-closed", "the member of the group has been closed; join again")

// Join makes a member. Its group gives it partitions while it polls.
func (b *Bus) Join(_ context.Context, group string, topics ...string) (bus.Member, error) {
	m := &member{bus: b, group: group, held: map[partition]*reading{}}
	m.changed = sync.NewCond(&m.mu)
	for _, topic := range topics {
		m.topics = append(m.topics, b.options.Prefix+topic)
	}
	var err error
	m.client, err = m.begin()
	if err != nil {
		return nil, err
	}
	return m, nil
}

// begin makes a client.
func (m *member) begin() (*kgo.Client, error) {
	session := m.bus.options.Session
	if session == 0 {
		session = defaultSession
	}
	return m.bus.client(kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumerGroup(m.bus.options.Prefix+m.group), kgo.ConsumeTopics(m.topics...), kgo.DisableAutoCommit(), kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.SessionTimeout(session), kgo.HeartbeatInterval(session/10), kgo.RebalanceTimeout(3*grace),
		kgo.OnPartitionsAssigned(m.assigned), kgo.OnPartitionsRevoked(m.revoked), kgo.OnPartitionsLost(m.lost))
}

// assigned begins to read partitions. What is committed, the client knows.
func (m *member) assigned(_ context.Context, _ *kgo.Client, gained map[string][]int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	each(gained, func(p partition) { m.held[p] = &reading{} })
}

// revoked hands partitions over, as soon as what was given of them is committed or some time has passed.
func (m *member) revoked(_ context.Context, _ *kgo.Client, given map[string][]int32) {
	until := time.Now().Add(grace)
	timer := time.AfterFunc(grace, m.changed.Broadcast)
	defer timer.Stop()
	m.mu.Lock()
	defer m.mu.Unlock()
	for !m.closed && m.owes(given) && time.Now().Before(until) {
		m.changed.Wait()
	}
	each(given, func(p partition) { delete(m.held, p) })
}

// owes says whether something that was given is not committed.
func (m *member) owes(partitions map[string][]int32) (owes bool) {
	each(partitions, func(p partition) {
		r := m.held[p]
		owes = owes || r != nil && r.done < r.given
	})
	return owes
}

// lost forgets partitions that others have already.
func (m *member) lost(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	each(gone, func(p partition) { delete(m.held, p) })
}

func each(partitions map[string][]int32, do func(partition)) {
	for topic, ids := range partitions {
		for _, id := range ids {
			do(partition{topic, id})
		}
	}
}

// Poll waits for records.
func (m *member) Poll(ctx context.Context, limit int) ([]bus.Record, error) {
	for {
		client, err := m.current()
		if err != nil {
			return nil, err
		}
		fetched := client.PollRecords(ctx, limit)
		if records := m.take(fetched); len(records) > 0 {
			return records, nil
		}
		switch err := failure(fetched); {
		case err == nil:
		case errors.Is(err, kgo.ErrClientClosed):
			if _, err := m.current(); err != nil {
				return nil, err
			}
		case errors.Is(err, kerr.UnknownTopicID):
			if err := m.anew(client); err != nil {
				return nil, err
			}
		default:
			return nil, m.bus.describe(err)
		}
	}
}

func (m *member) current() (*kgo.Client, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, errLeft
	}
	return m.client, nil
}

// failure is the first error of a fetch.
func failure(fetched kgo.Fetches) error {
	for _, one := range fetched.Errors() {
		return one.Err
	}
	return nil
}

// take notes what is given. A record of a partition that has been taken away meanwhile is given all the same: it may come twice.
func (m *member) take(fetched kgo.Fetches) []bus.Record {
	records := make([]bus.Record, 0, fetched.NumRecords())
	m.mu.Lock()
	defer m.mu.Unlock()
	fetched.EachRecord(func(r *kgo.Record) {
		records = append(records, m.bus.inward(r))
		if held := m.held[partition{r.Topic, r.Partition}]; held != nil {
			if held.given == 0 {
				held.done = r.Offset // those before it are done, by whomever
			}
			held.given = r.Offset + 1
		}
	})
	return records
}

// anew replaces the client: a topic was deleted and made again.
func (m *member) anew(old *kgo.Client) error {
	next, err := m.begin()
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.client != old {
		go next.Close()
		return nil
	}
	m.client, m.held = next, map[partition]*reading{}
	go old.Close()
	return nil
}

// Commit moves the group's offsets, in the partitions that are still held.
func (m *member) Commit(ctx context.Context, done []bus.Record) error {
	if len(done) == 0 {
		return nil
	}
	if err := m.bus.strike("bus.commit.before"); err != nil {
		return err
	}
	m.committing.Lock()
	defer m.committing.Unlock()
	client, offsets := m.reached(done)
	if len(offsets) > 0 {
		if err := m.commit(ctx, client, offsets); err != nil {
			return m.bus.describe(err)
		}
	}
	return m.bus.strike("bus.commit.after")
}

// reached gives the offsets after the records, where they are further than what was committed. What this member was given
// before it lost the partition for a while is another's.
func (m *member) reached(done []bus.Record) (*kgo.Client, map[string]map[int32]kgo.EpochOffset) {
	m.mu.Lock()
	defer m.mu.Unlock()
	offsets := map[string]map[int32]kgo.EpochOffset{}
	for i := range done {
		p := partition{m.bus.options.Prefix + done[i].Topic, done[i].Partition}
		next := kgo.EpochOffset{Epoch: -1, Offset: done[i].Offset + 1}
		held := m.held[p]
		if held == nil || next.Offset <= held.done || next.Offset > held.given {
			continue
		}
		if offsets[p.topic] == nil {
			offsets[p.topic] = map[int32]kgo.EpochOffset{}
		}
		if next.Offset > offsets[p.topic][p.id].Offset {
			offsets[p.topic][p.id] = next
		}
	}
	return m.client, offsets
}

func (m *member) commit(ctx context.Context, client *kgo.Client, offsets map[string]map[int32]kgo.EpochOffset) error {
	var refused error
	client.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, answer *kmsg.OffsetCommitResponse, err error) {
		refused = err
		if err != nil {
			return
		}
		for _, topic := range answer.Topics {
			for _, p := range topic.Partitions {
				refused = errors.Join(refused, kerr.ErrorForCode(p.ErrorCode))
			}
		}
	})
	if moved(refused) {
		return nil
	}
	if refused != nil {
		return refused
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for topic, partitions := range offsets {
		for id, next := range partitions {
			if held := m.held[partition{topic, id}]; held != nil {
				held.done = max(held.done, next.Offset)
			}
		}
	}
	m.changed.Broadcast()
	return nil
}

// moved says that the group has gone on without this member, or is about to be shared anew: the records come again.
func moved(err error) bool {
	return errors.Is(err, kerr.IllegalGeneration) || errors.Is(err, kerr.UnknownMemberID) || errors.Is(err, kerr.RebalanceInProgress)
}

// Close leaves the group.
func (m *member) Close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	client := m.client
	m.changed.Broadcast()
	m.mu.Unlock()
	client.Close()
	return nil
}
