package reference

import (
	"context"
	"fmt"
	"time"

	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/lifecycle"
	"github.com/avalhq/aval/internal/message"
)

// Report is what Verify found. A message is counted under one heading at most.
type Report struct {
	Checked   int64        `json:"checked"`   // messages of Guarantee
	Missing   int64        `json:"missing"`   // not in Reference
	Stale     int64        `json:"stale"`     // at an older version than the Follower has applied
	Extra     int64        `json:"extra"`     // in Reference and not in Guarantee
	Differing int64        `json:"differing"` // of the same version and not the same, or ahead of Guarantee
	Counts    int64        `json:"counts"`    // numbers behind Counts that disagree with the rows
	Repaired  bool         `json:"repaired"`  // all of these were mended
	Examples  []message.ID `json:"examples,omitempty"`
}

// Clean says whether nothing was found.
func (r Report) Clean() bool { return r.Missing+r.Stale+r.Extra+r.Differing+r.Counts == 0 }

// examples is how many ids a Report names.
const examples = 10

// doubtful is how many suspects are gathered before they are looked at again: bounded, however wrong Reference is.
const doubtful = 5000

// Verify compares Reference with Guarantee while the system runs, and with repair mends what it finds. A difference counts
// only if it is still there once the Follower has applied everything that was committed when it was first seen; when no
// Follower gets on, it counts after Patience.
func (s *Service) Verify(ctx context.Context, repair bool) (Report, error) {
	v := &verifier{Service: s, repair: repair, suspects: map[message.ID]int64{}}
	err := scan(ctx, s.Source, func(page []guarantee.Snapshot, done int64) error {
		v.report.Checked = done
		return v.suspect(ctx, page)
	})
	if err == nil {
		err = v.judge(ctx)
	}
	if err != nil {
		return v.report, fmt.Errorf("compare Guarantee's messages with Reference: %w", err)
	}
	if err := walk(ctx, s.Repairs, func(rows []Row, _ int64) error { return v.extras(ctx, rows) }); err != nil {
		return v.report, fmt.Errorf("compare Reference's rows with Guarantee: %w", err)
	}
	if v.report.Counts, err = s.Repairs.Recount(ctx, repair); err != nil {
		return v.report, fmt.Errorf("compare Reference's counts with its rows: %w", err)
	}
	v.report.Repaired = repair && !v.report.Clean()
	return v.report, nil
}

// verifier is one Verify under way.
type verifier struct {
	*Service
	repair   bool
	report   Report
	suspects map[message.ID]int64 // the version that Guarantee had when the difference was seen
	stuck    int64                // position + 1 at which the Follower was seen not to get on; 0 when it was not
}

// suspect notes the messages of a page that Reference shows differently, or not at all.
func (v *verifier) suspect(ctx context.Context, page []guarantee.Snapshot) error {
	rows, err := v.Repairs.Find(ctx, idsOf(page))
	if err != nil {
		return err
	}
	found := byID(rows)
	for _, snap := range page {
		if row, there := found[snap.ID]; !there || !same(row, snap) {
			v.suspects[snap.ID] = max(snap.Version, v.suspects[snap.ID])
		}
	}
	if len(v.suspects) < doubtful {
		return nil
	}
	return v.judge(ctx)
}

// judge waits until the Follower has had its chance with the suspects, and looks again.
func (v *verifier) judge(ctx context.Context) error {
	if len(v.suspects) == 0 {
		return nil
	}
	if err := v.settle(ctx); err != nil {
		return err
	}
	ids := make([]message.ID, 0, len(v.suspects))
	for id := range v.suspects {
		ids = append(ids, id)
	}
	rows, err := v.Repairs.Find(ctx, ids) // before Guarantee: a row ahead of Guarantee is then wrong, not early
	if err != nil {
		return err
	}
	truth, err := lookup(ctx, v.Source, ids)
	if err != nil {
		return err
	}
	found := byID(rows)
	var wrong []message.ID
	for _, id := range ids {
		row, there := found[id]
		if heading := v.heading(row, there, truth[id], v.suspects[id]); heading != nil {
			*heading++
			wrong = append(wrong, id)
		}
	}
	clear(v.suspects)
	return v.found(ctx, wrong)
}

// heading tells what a message is counted under, given the version that Reference must have by now; nil when nothing is
// wrong with it.
func (v *verifier) heading(row Row, there bool, snap guarantee.Snapshot, due int64) *int64 {
	switch {
	case !there:
		return &v.report.Missing
	case row.Version < due:
		return &v.report.Stale
	case row.Version > snap.Version, !sameMessage(row, snap), row.Version == snap.Version && !same(row, snap):
		return &v.report.Differing
	}
	return nil
}

// extras finds the rows that Guarantee knows nothing of. It never forgets a message, so no second look is needed.
func (v *verifier) extras(ctx context.Context, rows []Row) error {
	truth, err := lookup(ctx, v.Source, idsOf(rows))
	if err != nil {
		return err
	}
	var wrong []message.ID
	for _, row := range rows {
		if _, there := truth[row.ID]; !there {
			v.report.Extra++
			wrong = append(wrong, row.ID)
		}
	}
	return v.found(ctx, wrong)
}

func (v *verifier) found(ctx context.Context, wrong []message.ID) error {
	room := examples - len(v.report.Examples)
	v.report.Examples = append(v.report.Examples, wrong[:min(room, len(wrong))]...)
	if !v.repair {
		return nil
	}
	for len(wrong) > 0 {
		n := min(pageSize, len(wrong))
		if err := mend(ctx, v.Source, v.Store, v.Repairs, wrong[:n]); err != nil {
			return err
		}
		wrong = wrong[n:]
	}
	return nil
}

// settle waits until Reference's position has reached what the outbox holds now.
func (v *verifier) settle(ctx context.Context) error {
	_, last, err := v.Outbox.Bounds(ctx)
	if err != nil {
		return err
	}
	patience := v.Patience
	if patience == 0 {
		patience = defaultPatience
	}
	var since time.Time
	before, wait := int64(-1), time.Millisecond
	for {
		position, err := v.Store.Position(ctx)
		if err != nil || position >= last || position+1 == v.stuck {
			return err
		}
		if position != before {
			before, since = position, time.Now()
		}
		if time.Since(since) >= patience {
			v.stuck = position + 1 // waited for once, not again for each batch of suspects
			return nil
		}
		if lifecycle.Sleep(ctx, wait) != nil {
			return ctx.Err()
		}
		wait = min(2*wait, 50*time.Millisecond)
	}
}
