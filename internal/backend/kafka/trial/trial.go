//go:build cluster

// Package trial gives each test topics of its own on the real broker that `make services-up` has started.
//
// A missing broker fails the test: nothing is skipped.
package trial

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/avalhq/aval/internal/backend/kafka"
	"github.com/avalhq/aval/test/e2e/stage"
)

// Variable names the environment variable with a broker's address, for one that make services-up did not start. The test reads it.
const Variable = "AVAL_TEST_KAFKA"

// Server is the broker.
type Server struct {
	Given string // its address; otherwise the one that make services-up has left in .services
}

// Address of the broker.
func (s *Server) Address(t testing.TB) string {
	t.Helper()
	return stage.Shared(t, "kafka", s.Given, Variable)
}

// Empty gives options with a prefix of its own, whose topics are not there yet; they are deleted when the test has ended.
func (s *Server) Empty(t testing.TB) kafka.Options {
	t.Helper()
	options := kafka.Options{
		Brokers: []string{s.Address(t)}, Prefix: "test-" + strings.ToLower(rand.Text()[:12]) + ".", Partitions: 4, Replication: 1, Installation: "a",
	}
	t.Cleanup(func() {
		admin := s.Admin(t)
		topics, err := admin.ListTopics(context.Background())
		for name := range topics {
			if strings.HasPrefix(name, options.Prefix) {
				_, deleted := admin.DeleteTopic(context.Background(), name)
				err = deleted
			}
		}
		if err != nil {
			t.Errorf("delete the test's topics: %v", err)
		}
	})
	return options
}

// Fresh makes the topics too, each of so many partitions.
func (s *Server) Fresh(t testing.TB, partitions int32) kafka.Options {
	t.Helper()
	options := s.Empty(t)
	options.Partitions = partitions
	if _, err := kafka.Init(t.Context(), options, false); err != nil {
		t.Fatalf("make the test's topics: %v; run make services-up", err)
	}
	return options
}

// Admin acts around Aval's code.
func (s *Server) Admin(t testing.TB) *kadm.Client {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.Address(t)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return kadm.NewClient(client)
}
