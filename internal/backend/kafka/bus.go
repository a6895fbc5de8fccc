// Package kafka serves bus.Bus from Apache Kafka 4 or newer, for clusters whose roles exchange more than a database should carry.
//
// A topic of the bus is a topic of Kafka with the installation's prefix before its name; `aval cluster init` makes them, and Open
// refuses to start on one that is missing or differs. Producers are idempotent and wait for all replicas that are in sync. Consumers
// join groups, whose members keep their partitions while others come and go (cooperative-sticky), and commit by hand.
//
// Nothing here is the truth: a topic that was deleted, or a broker that lost its last records, is filled again from the
// database. So one topic more says which installation the others belong to: two that share a prefix by mistake would act on
// each other's records, and the second one is refused.
package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/avalhq/aval/internal/bus"
	"github.com/avalhq/aval/internal/fault"
)

// Options say where Kafka is, and how its topics have to be.
type Options struct {
	Brokers      []string    // host:port; some of the cluster's are enough
	Prefix       string      // before the names of topics and groups
	Partitions   int32       // of each topic
	Replication  int16       // copies of each record
	TLS          *tls.Config // nil: none
	Login        Login
	Process      string        // names this process in the broker's log
	Installation string        // what all processes on these topics have in common
	Session      time.Duration // after which a process that is silent has ended; 0 means defaultSession
	Log          *slog.Logger  // may be nil
	Faults       *fault.Points // for tests; nil in production

	Dial func(ctx context.Context, network, host string) (net.Conn, error) // for tests; nil in production
}

// Login is how a process says who it is (SASL).
type Login struct {
	Mechanism string // plain, scram-sha-256 or scram-sha-512; "" is no login
	User      string
	Password  string
}

// option is the login for a client.
func (l Login) option() kgo.Opt {
	secret := scram.Auth{User: l.User, Pass: l.Password}
	switch l.Mechanism {
	case "scram-sha-256":
		return kgo.SASL(secret.AsSha256Mechanism())
	case "scram-sha-512":
		return kgo.SASL(secret.AsSha512Mechanism())
	}
	return kgo.SASL(plain.Auth{User: l.User, Pass: l.Password}.AsMechanism())
}

// Bus is a process's connection.
type Bus struct {
	options  Options
	producer *kgo.Client
}

const (
	startWithin    = 15 * time.Second // for the broker to answer at the start
	publishWithin  = 30 * time.Second // for a record to be accepted
	defaultSession = 10 * time.Second
)

// Open connects, and checks the topics.
func Open(ctx context.Context, options Options) (*Bus, error) {
	b := &Bus{options: options}
	producer, err := b.client(
		kgo.AllowIdempotentProduceCancellation(), // Publish answers in bounded time; what it failed to do may be there
		kgo.RecordDeliveryTimeout(publishWithin),
		kgo.MaxBufferedRecords(100_000),
	)
	if err != nil {
		return nil, err
	}
	b.producer = producer
	starting, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	if err := b.ready(starting); err != nil {
		b.Close()
		return nil, b.atStart(ctx, err)
	}
	return b, nil
}

// client makes a client with the options of all.
func (b *Bus) client(more ...kgo.Opt) (*kgo.Client, error) {
	o := b.options
	opts := []kgo.Opt{
		kgo.SeedBrokers(o.Brokers...), kgo.ClientID("aval " + o.Process), kgo.DisableClientMetrics(),
		kgo.MetadataMinAge(250 * time.Millisecond), kgo.RetryBackoffFn(backoff), kgo.DialTimeout(5 * time.Second),
		kgo.WithLogger(journal{o.Log}),
	}
	switch {
	case o.Dial != nil:
		opts = append(opts, kgo.Dialer(o.Dial))
	case o.TLS != nil:
		opts = append(opts, kgo.DialTLSConfig(o.TLS))
	}
	if o.Login.Mechanism != "" {
		opts = append(opts, o.Login.option())
	}
	client, err := kgo.NewClient(append(opts, more...)...)
	return client, b.describe(err)
}

// backoff is short at first: a broker that restarts is back within seconds.
func backoff(try int) time.Duration { return min(50*time.Millisecond<<min(try, 10), 2*time.Second) }

// ready checks the topics, and whose they are.
func (b *Bus) ready(ctx context.Context) error {
	if err := b.producer.Ping(ctx); err != nil {
		return b.describe(err)
	}
	topics, err := b.look(ctx, kadm.NewClient(b.producer))
	if err != nil {
		return err
	}
	for _, t := range topics {
		if err := b.options.fit(t); err != nil {
			return err
		}
	}
	return b.claim(ctx)
}

// Close ends the connection. Members end on their own.
func (b *Bus) Close() { b.producer.Close() }

// Ping asks whether a broker answers, for readiness.
func (b *Bus) Ping(ctx context.Context) error { return b.describe(b.producer.Ping(ctx)) }

func (b *Bus) strike(point string) error {
	if err := b.options.Faults.Hit(point); err != nil {
		return b.describe(err)
	}
	return nil
}

// Publish has the records accepted, many in each request.
func (b *Bus) Publish(ctx context.Context, records []bus.Record) error {
	if err := b.strike("bus.publish.before"); err != nil {
		return err
	}
	batch := make([]*kgo.Record, len(records))
	for i := range records {
		batch[i] = b.outward(&records[i])
	}
	err := b.producer.ProduceSync(ctx, batch...).FirstErr()
	if errors.Is(err, kerr.UnknownTopicID) || errors.Is(err, kerr.UnknownTopicOrPartition) {
		// A topic was deleted and made anew: it is another one, of which the client has to learn.
		for _, r := range batch {
			r.Partition, r.Offset = 0, 0
		}
		b.producer.PurgeTopicsFromProducing(topicsOf(batch)...)
		err = b.producer.ProduceSync(ctx, batch...).FirstErr()
	}
	if err != nil {
		return b.describe(err)
	}
	return b.strike("bus.publish.after")
}

func topicsOf(batch []*kgo.Record) (topics []string) {
	for _, r := range batch {
		if !slices.Contains(topics, r.Topic) {
			topics = append(topics, r.Topic)
		}
	}
	return topics
}

func (b *Bus) outward(r *bus.Record) *kgo.Record {
	out := &kgo.Record{Topic: b.options.Prefix + r.Topic, Key: []byte(r.Key), Value: r.Value}
	for name, value := range r.Headers {
		out.Headers = append(out.Headers, kgo.RecordHeader{Key: name, Value: []byte(value)})
	}
	return out
}

func (b *Bus) inward(r *kgo.Record) bus.Record {
	in := bus.Record{Topic: strings.TrimPrefix(r.Topic, b.options.Prefix), Key: string(r.Key), Value: r.Value, Partition: r.Partition, Offset: r.Offset}
	if len(r.Headers) > 0 {
		in.Headers = make(map[string]string, len(r.Headers))
	}
	for _, h := range r.Headers {
		in.Headers[h.Key] = string(h.Value)
	}
	return in
}

// journal leads the client's warnings into the log of the process.
type journal struct{ log *slog.Logger }

// Level is the least severe that is wanted.
func (j journal) Level() kgo.LogLevel {
	if j.log == nil {
		return kgo.LogLevelNone
	}
	return kgo.LogLevelWarn
}

// Log logs.
func (j journal) Log(level kgo.LogLevel, text string, pairs ...any) {
	at := slog.LevelWarn
	if level == kgo.LogLevelError {
		at = slog.LevelError
	}
	j.log.Log(context.Background(), at, "the client of Kafka has something to say", append(pairs, "said", text)...)
}
