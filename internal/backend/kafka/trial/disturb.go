//go:build cluster

package trial

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
)

// Disturber does to Aval's topics and groups at a broker what should never happen to them.
type Disturber struct {
	Prefix string
	admin  *kadm.Client
}

// Disturb is for the topics with a prefix.
func (s *Server) Disturb(t testing.TB, prefix string) *Disturber {
	t.Helper()
	return &Disturber{Prefix: prefix, admin: s.Admin(t)}
}

// DeleteTopics deletes them all, with everything in them.
func (d *Disturber) DeleteTopics(ctx context.Context) error {
	found, err := d.admin.ListTopics(ctx)
	if err != nil {
		return err
	}
	var names []string
	for _, name := range found.Names() {
		if strings.HasPrefix(name, d.Prefix) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return fmt.Errorf("the broker has no topic that begins with %s", d.Prefix)
	}
	answer, err := d.admin.DeleteTopics(ctx, names...)
	return errors.Join(err, answer.Error())
}

// Rewind sets the offsets of all groups to 0, and says in how many partitions they had gone further. The groups may have no members.
func (d *Disturber) Rewind(ctx context.Context) (moved int, err error) {
	groups, err := d.admin.ListGroups(ctx)
	if err != nil {
		return 0, err
	}
	for _, group := range groups.Groups() {
		if !strings.HasPrefix(group, d.Prefix) {
			continue
		}
		n, err := d.rewind(ctx, group)
		if err != nil {
			return moved, fmt.Errorf("set the offsets of %s to 0: %w", group, err)
		}
		moved += n
	}
	return moved, nil
}

func (d *Disturber) rewind(ctx context.Context, group string) (moved int, err error) {
	offsets, err := d.admin.FetchOffsets(ctx, group)
	if err != nil {
		return 0, err
	}
	first := make(kadm.Offsets)
	offsets.Each(func(o kadm.OffsetResponse) {
		if o.At > 0 {
			moved++
		}
		o.At = 0
		first.Add(o.Offset)
	})
	answer, err := d.admin.CommitOffsets(ctx, group, first)
	return moved, errors.Join(err, answer.Error())
}
