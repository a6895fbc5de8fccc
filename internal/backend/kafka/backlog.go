package kafka

import (
	"context"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/avalhq/aval/internal/bus"
)

// Backlogs asks the brokers how far the groups are.
func (b *Bus) Backlogs(ctx context.Context) ([]bus.Backlog, error) {
	admin := kadm.NewClient(b.producer)
	listed, err := admin.ListGroups(ctx)
	if err != nil {
		return nil, b.describe(err)
	}
	ours := slices.DeleteFunc(listed.Groups(), func(group string) bool { return !strings.HasPrefix(group, b.options.Prefix) })
	if len(ours) == 0 {
		return nil, nil
	}
	lags, err := admin.Lag(ctx, ours...)
	if err == nil {
		err = lags.Error()
	}
	if err != nil {
		return nil, b.describe(err)
	}
	var all []bus.Backlog
	for _, group := range lags.Sorted() {
		for _, topic := range group.Lag.TotalByTopic().Sorted() {
			all = append(all, bus.Backlog{Group: strings.TrimPrefix(group.Group, b.options.Prefix), Topic: strings.TrimPrefix(topic.Topic, b.options.Prefix), Records: topic.Lag})
		}
	}
	return all, nil
}
