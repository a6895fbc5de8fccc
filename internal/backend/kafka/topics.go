package kafka

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/avalhq/aval/internal/bus"
	"github.com/avalhq/aval/internal/problem"
)

// marker is the topic whose first record says which installation the topics belong to. It is kept for ever.
const marker = "installation"

// retained is how long records are kept, in milliseconds: a week, as long as PostgreSQL's bus keeps what a group has not read.
const retained = 7 * 24 * 60 * 60 * 1000

// Topic is one that the bus needs, as it is at the broker.
type Topic struct {
	Name        string `json:"topic"`
	Partitions  int32  `json:"partitions"` // 0 when it is not there
	Replication int16  `json:"replication"`
	Compacted   bool   `json:"compacted,omitempty"` // forgets records that have a successor with the same key
	Action      string `json:"action"`              // what Init has done or would do: "", "make", "grow"
}

// names are those of all topics, with the prefix.
func (o Options) names() []string {
	names := []string{o.Prefix + marker}
	for _, topic := range bus.Topics() {
		names = append(names, o.Prefix+topic)
	}
	slices.Sort(names)
	return names
}

// look finds out how the topics are.
func (b *Bus) look(ctx context.Context, admin *kadm.Client) ([]Topic, error) {
	details, err := admin.ListTopics(ctx, b.options.names()...)
	if err != nil {
		return nil, b.describe(err)
	}
	var topics []Topic
	var there []string
	for _, name := range b.options.names() {
		t := Topic{Name: name}
		if d := details[name]; details.Has(name) {
			if d.Err != nil {
				return nil, b.describe(d.Err)
			}
			t.Partitions, t.Replication = int32(len(d.Partitions)), int16(d.Partitions.NumReplicas())
			there = append(there, name)
		}
		topics = append(topics, t)
	}
	configs, err := admin.DescribeTopicConfigs(ctx, there...)
	if err != nil {
		return nil, b.describe(err)
	}
	for i := range topics {
		found, err := configs.On(topics[i].Name, nil)
		if errors.Is(err, kerr.TopicAuthorizationFailed) {
			return nil, b.describe(err)
		}
		if err != nil {
			continue // it is not there
		}
		for _, c := range found.Configs {
			topics[i].Compacted = topics[i].Compacted || c.Key == "cleanup.policy" && c.MaybeValue() != "delete"
		}
	}
	return topics, nil
}

// wanted is the number of partitions of a topic.
func (o Options) wanted(name string) int32 {
	if name == o.Prefix+marker {
		return 1
	}
	return o.Partitions
}

// fit says what is wrong with a topic.
func (o Options) fit(t Topic) error {
	switch want := o.wanted(t.Name); {
	case t.Partitions == 0:
		return problem.New(problem.Invalid, "topic-missing", "the topic %s is missing at the Kafka brokers %s; run aval cluster init", t.Name, o.where())
	case t.Partitions < want:
		return problem.New(problem.Invalid, "topic-unfit", "the topic %s has %d partitions and kafka.partitions is %d; run aval cluster init, which adds them, or set kafka.partitions to %d", t.Name, t.Partitions, want, t.Partitions)
	case t.Partitions > want && want > 1:
		return problem.New(problem.Invalid, "topic-unfit", "the topic %s has %d partitions and kafka.partitions is %d; a topic cannot shrink: set kafka.partitions to %d, or choose another kafka.prefix", t.Name, t.Partitions, want, t.Partitions)
	case t.Partitions > want:
		return problem.New(problem.Invalid, "topic-unfit", "the topic %s has %d partitions and needs exactly 1; choose another kafka.prefix", t.Name, t.Partitions)
	case t.Replication < o.Replication:
		return problem.New(problem.Invalid, "topic-unfit", "the topic %s has %d copies of each record and kafka.replication is %d; give it more with kafka-reassign-partitions, or set kafka.replication to %d", t.Name, t.Replication, o.Replication, t.Replication)
	case t.Compacted:
		return problem.New(problem.Invalid, "topic-unfit", "the topic %s forgets records (its cleanup.policy is not delete); set its cleanup.policy to delete with kafka-configs", t.Name)
	}
	return nil
}

// claim writes whose the topics are when nobody has, and otherwise compares: the first record counts, whoever else writes one.
func (b *Bus) claim(ctx context.Context) error {
	owner, err := b.owner(ctx)
	if err != nil {
		return err
	}
	if owner == "" {
		mine := &kgo.Record{Topic: b.options.Prefix + marker, Value: []byte(b.options.Installation)}
		if err := b.producer.ProduceSync(ctx, mine).FirstErr(); err != nil {
			return b.describe(err)
		}
		if owner, err = b.owner(ctx); err != nil {
			return err
		}
	}
	if owner != b.options.Installation {
		return problem.New(problem.Invalid, "topics-of-another-installation", "the topics %s* at the Kafka brokers %s belong to the installation %s, and this one is %s; give each installation a kafka.prefix of its own",
			b.options.Prefix, b.options.where(), owner, b.options.Installation)
	}
	return nil
}

// owner reads the first record of the marker; "" when there is none.
func (b *Bus) owner(ctx context.Context) (string, error) {
	topic := b.options.Prefix + marker
	ends, err := kadm.NewClient(b.producer).ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return "", b.describe(err)
	}
	if end, _ := ends.Lookup(topic, 0); end.Offset == 0 {
		return "", nil
	}
	reader, err := b.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}))
	if err != nil {
		return "", err
	}
	defer reader.Close()
	for {
		fetched := reader.PollRecords(ctx, 1)
		for _, first := range fetched.Records() {
			return string(first.Value), nil
		}
		if err := failure(fetched); err != nil {
			return "", b.describe(err)
		}
	}
}

// Init makes what is missing, and refuses what it cannot mend. It may be run again at any time. With dry it changes nothing. It
// answers with all topics.
func Init(ctx context.Context, options Options, dry bool) ([]Topic, error) {
	b := &Bus{options: options}
	client, err := b.client()
	if err != nil {
		return nil, err
	}
	b.producer = client
	defer b.Close()
	starting, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	topics, err := b.prepare(starting, dry)
	if err != nil {
		return nil, b.atStart(ctx, err)
	}
	return topics, nil
}

func (b *Bus) prepare(ctx context.Context, dry bool) ([]Topic, error) {
	if err := b.producer.Ping(ctx); err != nil {
		return nil, b.describe(err)
	}
	admin := kadm.NewClient(b.producer)
	topics, err := b.look(ctx, admin)
	if err != nil {
		return nil, err
	}
	for i := range topics {
		if err := b.plan(&topics[i]); err != nil {
			return nil, err
		}
	}
	for i := range topics {
		if err := b.make(ctx, admin, topics[i], dry); err != nil {
			return nil, err
		}
	}
	if dry {
		return topics, nil
	}
	return topics, b.await(ctx, admin)
}

// await returns when all topics can be used: brokers learn of a new topic one after the other.
func (b *Bus) await(ctx context.Context, admin *kadm.Client) error {
	for {
		details, err := admin.ListTopics(ctx, b.options.names()...)
		if err == nil && b.usable(details) {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (b *Bus) usable(details kadm.TopicDetails) bool {
	for _, name := range b.options.names() {
		if len(details[name].Partitions) < int(b.options.wanted(name)) {
			return false
		}
	}
	usable := true
	details.EachPartition(func(p kadm.PartitionDetail) { usable = usable && p.Err == nil })
	return usable
}

// plan says what a topic needs, before anything is changed.
func (b *Bus) plan(t *Topic) error {
	want := b.options.wanted(t.Name)
	switch {
	case t.Partitions == 0:
		*t = Topic{Name: t.Name, Partitions: want, Replication: b.options.Replication, Action: "make"}
	case t.Partitions < want:
		t.Partitions, t.Action = want, "grow"
	}
	return b.options.fit(*t)
}

func (b *Bus) make(ctx context.Context, admin *kadm.Client, t Topic, dry bool) error {
	var err error
	switch t.Action {
	case "make":
		create := admin.CreateTopics
		if dry {
			create = admin.ValidateCreateTopics
		}
		err = firstError(create(ctx, t.Partitions, t.Replication, b.settings(t), t.Name))
	case "grow":
		grow := admin.UpdatePartitions
		if dry {
			grow = admin.ValidateUpdatePartitions
		}
		err = firstError(grow(ctx, int(t.Partitions), t.Name))
	}
	if err != nil {
		return problem.New(problem.Invalid, "topic-refused", "the Kafka brokers %s refuse to %s the topic %s with %d partitions and %d copies: %w; correct kafka.partitions and kafka.replication, or ask for the right to make topics",
			b.options.where(), t.Action, t.Name, t.Partitions, t.Replication, err)
	}
	return nil
}

// firstError is what a request or its answer says.
func firstError[A interface{ Error() error }](answer A, err error) error {
	if err != nil {
		return err
	}
	return answer.Error()
}

// settings of a topic that is made. One copy may be away and records are still accepted.
func (b *Bus) settings(t Topic) map[string]*string {
	keep := strconv.Itoa(retained)
	if t.Name == b.options.Prefix+marker {
		keep = "-1"
	}
	return map[string]*string{
		"cleanup.policy": kadm.StringPtr("delete"), "retention.ms": &keep, "retention.bytes": kadm.StringPtr("-1"),
		"min.insync.replicas": kadm.StringPtr(strconv.Itoa(max(1, int(t.Replication)-1))),
	}
}
