//go:build cluster

package kafka_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/avalhq/aval/internal/backend/kafka"
	"github.com/avalhq/aval/internal/bus"
	"github.com/avalhq/aval/internal/problem"
)

// refused checks that a process does not start, and with which sentence.
func refused(t *testing.T, options kafka.Options, code string, words ...string) {
	t.Helper()
	b, err := kafka.Open(t.Context(), options)
	if err == nil {
		b.Close()
		t.Fatalf("it started; want %s", code)
	}
	says(t, err, code, words...)
}

func says(t *testing.T, err error, code string, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want %s", code)
	}
	if p := problem.From(err); p.Code != code || p.Kind != problem.Invalid {
		t.Errorf("refused with %s (%s): %v; want %s", p.Code, p.Kind, err, code)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not name %s", err, word)
		}
	}
}

// actions are what Init did or would do, by topic without its prefix.
func actions(t *testing.T, options kafka.Options, dry bool) map[string]string {
	t.Helper()
	topics, err := kafka.Init(t.Context(), options, dry)
	if err != nil {
		t.Fatal(err)
	}
	did := map[string]string{}
	for _, topic := range topics {
		did[strings.TrimPrefix(topic.Name, options.Prefix)] = topic.Action
	}
	return did
}

func TestTopicsAreMadeOnceAndChecked(t *testing.T) {
	options := server.Empty(t)
	refused(t, options, "topic-missing", options.Prefix, "aval cluster init")
	for _, dry := range []bool{true, true, false} { // a dry run makes nothing
		for name, action := range actions(t, options, dry) {
			if action != "make" {
				t.Errorf("dry %v: %s: %q; want it made", dry, name, action)
			}
		}
	}
	for name, action := range actions(t, options, false) {
		if action != "" {
			t.Errorf("the second time: %s: %q", name, action)
		}
	}
	open(t, options)

	more := options
	more.Partitions = 6
	refused(t, more, "topic-unfit", "4 partitions", "aval cluster init")
	if did := actions(t, more, true); did[bus.Due] != "grow" {
		t.Errorf("a dry run with more partitions would %v", did)
	}
	open(t, options) // nothing has grown
	if did := actions(t, more, false); did[bus.Due] != "grow" {
		t.Errorf("with more partitions: %v", did)
	}
	open(t, more)
	refused(t, options, "topic-unfit", "6 partitions", "kafka.partitions to 6")
	_, err := kafka.Init(t.Context(), options, false)
	says(t, err, "topic-unfit", "cannot shrink")

	more.Replication = 3
	refused(t, more, "topic-unfit", "kafka.replication")
}

func TestACompactedTopicIsRefused(t *testing.T) {
	options := server.Fresh(t, 4)
	name := options.Prefix + bus.Signed
	_, err := server.Admin(t).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: "cleanup.policy", Value: kadm.StringPtr("compact")}}, name)
	if err != nil {
		t.Fatal(err)
	}
	for try := 0; ; try++ { // a broker learns of a setting a moment later
		b, err := kafka.Open(t.Context(), options)
		if err != nil {
			says(t, err, "topic-unfit", name, "cleanup.policy")
			return
		}
		b.Close()
		if try == 100 {
			t.Fatal("it starts on a topic that forgets records")
		}
	}
}

// TestTwoInstallationsOnOnePrefixAreRefused, also when both start at the same moment.
func TestTwoInstallationsOnOnePrefixAreRefused(t *testing.T) {
	options := server.Fresh(t, 4)
	other := options
	other.Installation = "b"
	results := make(chan error, 2)
	for _, o := range []kafka.Options{options, other} {
		go func() {
			b, err := kafka.Open(t.Context(), o)
			if err == nil {
				b.Close()
			}
			results <- err
		}()
	}
	one, two := <-results, <-results
	if (one == nil) == (two == nil) {
		t.Fatalf("of two installations not exactly one was refused: %v, %v", one, two)
	}
	if one == nil {
		one = two
	}
	says(t, one, "topics-of-another-installation", options.Prefix, "kafka.prefix")
}

func TestABrokerThatIsNotThereIsRefused(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	options := kafka.Options{Brokers: []string{address}, Prefix: "none.", Partitions: 1, Replication: 1}
	refused(t, options, "kafka-unreachable", address, "kafka.brokers")
	_, err = kafka.Init(t.Context(), options, true)
	says(t, err, "kafka-unreachable", address)
}

func open(t *testing.T, options kafka.Options) *kafka.Bus {
	t.Helper()
	b, err := kafka.Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

// TestATopicThatIsDeletedAndMadeAgainIsUsed: by who published to it before, and by the members of a group.
func TestATopicThatIsDeletedAndMadeAgainIsUsed(t *testing.T) {
	options := server.Fresh(t, 4)
	options.Session = 2 * time.Second
	b := open(t, options)
	within, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	m := member(within, t, b)
	publish(within, t, b, "before")
	if err := m.Commit(within, until(within, t, m, "before")); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Admin(t).DeleteTopic(within, options.Prefix+bus.Due); err != nil {
		t.Fatal(err)
	}
	if did := again(within, t, options); did != "make" {
		t.Fatalf("the topic was not made again: %q", did)
	}
	publish(within, t, b, "after")
	until(within, t, m, "after")
}

// again makes topics until the broker has forgotten the former one.
func again(ctx context.Context, t *testing.T, options kafka.Options) string {
	t.Helper()
	for ctx.Err() == nil {
		topics, err := kafka.Init(ctx, options, false)
		if err != nil {
			continue
		}
		for _, topic := range topics {
			if topic.Name == options.Prefix+bus.Due && topic.Action != "" {
				return topic.Action
			}
		}
	}
	return ""
}

// publish tries as a publisher does, until it is told that the record is there.
func publish(ctx context.Context, t *testing.T, b bus.Bus, key string) {
	t.Helper()
	for {
		err := b.Publish(ctx, []bus.Record{{Topic: bus.Due, Key: key}})
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}
