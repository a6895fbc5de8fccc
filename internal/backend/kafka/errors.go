package kafka

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/avalhq/aval/internal/problem"
)

// where names the brokers in messages.
func (o Options) where() string { return strings.Join(o.Brokers, ", ") }

// describe turns what the client says into a sentence for the person who must act. Refusals and ended contexts pass.
func (b *Bus) describe(err error) error {
	var refusal *problem.Error
	var network *net.OpError
	where := b.options.where()
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refusal), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.UnknownTopicID):
		return problem.New(problem.Unavailable, "topic-missing", "a topic with the prefix %s is missing at the Kafka brokers %s; run aval cluster init, which makes it and loses nothing", b.options.Prefix, where)
	case errors.Is(err, kerr.SaslAuthenticationFailed), errors.Is(err, kerr.UnsupportedSaslMechanism), errors.Is(err, kerr.IllegalSaslState):
		return problem.New(problem.Unavailable, "kafka-refused", "the Kafka brokers %s refuse the login: %w; check kafka.user, kafka.password and kafka.mechanism", where, err)
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.GroupAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed):
		return problem.New(problem.Unavailable, "kafka-forbidden", "the Kafka brokers %s do not allow this user to do this: %w; allow it to Read, Write and DescribeConfigs the topics, and to Read the groups, that begin with %s", where, err, b.options.Prefix)
	case errors.As(err, &network):
		return problem.New(problem.Unavailable, "kafka-unreachable", "the Kafka brokers %s cannot be reached (%w); start them, or correct kafka.brokers", where, err)
	}
	return problem.New(problem.Unavailable, "kafka-failed", "use the Kafka brokers %s: %w", where, err)
}

// atStart makes a broker that is not there a mistake of the configuration: a process that cannot begin does not wait for it. ctx
// is the caller's; err may come of the time limit.
func (b *Bus) atStart(ctx context.Context, err error) error {
	failed := problem.From(err)
	switch {
	case ctx.Err() != nil:
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return problem.New(problem.Invalid, "kafka-unreachable", "the Kafka brokers %s do not answer within %s; start them, or correct kafka.brokers and kafka.tls", b.options.where(), startWithin)
	case failed.Code == "kafka-failed":
		return problem.New(problem.Invalid, failed.Code, "%w; check kafka.brokers, kafka.secure, kafka.tls and kafka.mechanism", err)
	}
	return problem.New(problem.Invalid, failed.Code, "%w", err)
}
