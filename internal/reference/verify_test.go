package reference_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/reference"
	"github.com/avalhq/aval/internal/reference/referencetest"
)

// service is of a house whose Reference is complete: n messages, a third of them archived.
func service(t *testing.T, n int) (*reference.Service, *house, []message.ID) {
	h := newHouse()
	ids := h.Accept("cli_a", n)
	for i, id := range ids {
		if i%3 == 0 {
			h.Move(id, "done", guarantee.Succeeded)
		}
	}
	_, last, _ := h.Log.Bounds(t.Context())
	if err := h.model.Apply(t.Context(), h.All(), last); err != nil {
		t.Fatal(err)
	}
	return &reference.Service{Source: h.Truth, Store: h.model, Repairs: h.model, Outbox: h.Log}, h, ids
}

func verify(t *testing.T, s *reference.Service, repair bool) reference.Report {
	t.Helper()
	report, err := s.Verify(t.Context(), repair)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// damage makes 2 rows missing, 1 stale, 2 differing, 3 extra.
func damage(t *testing.T, h *house, ids []message.ID) (touched []message.ID) {
	t.Helper()
	rows, err := h.model.Find(t.Context(), []message.ID{ids[30], ids[31], ids[900]})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(rows, func(a, b reference.Row) int { return a.Accepted.Compare(b.Accepted) })
	stale, ahead, odd := rows[0], rows[1], rows[2]
	stale.Version--
	ahead.Version += 9
	odd.Attributes.Amount = "1"
	extra := []reference.Row{odd, odd, odd}
	touched = []message.ID{ids[30], ids[31], ids[900], ids[2], ids[700]}
	for i := range extra {
		extra[i].ID = message.NewID()
		touched = append(touched, extra[i].ID)
	}
	if err := h.model.Replace(t.Context(), append(extra, stale, ahead, odd), []message.ID{ids[2], ids[700]}); err != nil {
		t.Fatal(err)
	}
	return touched
}

func TestVerifyFindsNothingWhereNothingIsWrong(t *testing.T) {
	s, h, _ := service(t, 1200)
	if r := verify(t, s, true); !r.Clean() || r.Checked != 1200 || r.Repaired || r.Examples != nil {
		t.Errorf("the report is %+v", r)
	}
	agree(t, h.Truth, h.model)
}

func TestVerifyFindsExactlyWhatIsWrong(t *testing.T) {
	s, h, ids := service(t, 1200)
	touched := damage(t, h, ids)
	before, _ := h.model.Walk(t.Context(), "", 5000)
	r := verify(t, s, false)
	slices.Sort(r.Examples)
	slices.Sort(touched)
	if !slices.Equal(r.Examples, touched) {
		t.Errorf("the examples are %v, want %v", r.Examples, touched)
	}
	if r.Checked != 1200 || r.Missing != 2 || r.Stale != 1 || r.Differing != 2 || r.Extra != 3 || r.Repaired {
		t.Errorf("the report is %+v", r)
	}
	if after, _ := h.model.Walk(t.Context(), "", 5000); !slices.Equal(before, after) {
		t.Error("it has changed rows without being asked to repair")
	}
	if r := verify(t, s, true); !r.Repaired || r.Missing+r.Stale+r.Differing+r.Extra != 8 {
		t.Errorf("the report of the repair is %+v", r)
	}
	agree(t, h.Truth, h.model)
	if r := verify(t, s, false); !r.Clean() {
		t.Errorf("after the repair the report is %+v", r)
	}
}

func TestRebuildMendsAnything(t *testing.T) {
	s, h, ids := service(t, 1200)
	damage(t, h, ids)
	var phases []string
	err := s.Rebuild(t.Context(), func(p reference.Progress) {
		if len(phases) == 0 || phases[len(phases)-1] != p.Phase {
			phases = append(phases, p.Phase)
		}
	})
	if err != nil || !slices.Equal(phases, []string{"read", "sweep", "count"}) {
		t.Errorf("it went through %v and ended with %v", phases, err)
	}
	agree(t, h.Truth, h.model)
}

func TestVerifyWaitsForTheFollower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h, ids := service(t, 30)
		h.f.Pace = 2 * time.Second
		stop := h.start(t)
		defer stop()
		h.Move(ids[1], "sign", guarantee.Running) // applied at once, and then nothing for two seconds
		synctest.Wait()
		h.Move(ids[1], "send", guarantee.Running)
		h.Accept("cli_b", 3)
		if r := verify(t, s, false); !r.Clean() {
			t.Errorf("what the follower was about to apply was reported: %+v", r)
		}
	})
}

func TestVerifyWithoutFollowerCountsTheLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h, ids := service(t, 30)
		h.Move(ids[1], "sign", guarantee.Running)
		h.Accept("cli_b", 3)
		began := time.Now()
		if r := verify(t, s, true); r.Stale != 1 || r.Missing != 3 || !r.Repaired {
			t.Errorf("the report is %+v, want 1 stale and 3 missing", r)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("it waited %s for a follower that does not run", took)
		}
		agree(t, h.Truth, h.model)
	})
}

func TestVerifyWaitsOnceForAFollowerThatDoesNotRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, h, _ := service(t, 0)
		h.Accept("cli_a", 11_000) // more than it gathers before it waits
		began := time.Now()
		if r := verify(t, s, true); r.Missing != 11_000 || !r.Repaired || len(r.Examples) != 10 {
			t.Errorf("the report is %+v", r)
		}
		if took := time.Since(began); took < 3*time.Second || took > 5*time.Second {
			t.Errorf("it waited %s", took)
		}
		agree(t, h.Truth, h.model)
	})
}

// racing lets the follower apply newer versions in the moment before a repair overwrites them.
type racing struct {
	*referencetest.Model
	before func()
}

func (r *racing) Replace(ctx context.Context, rows []reference.Row, remove []message.ID) error {
	r.before()
	return r.Model.Replace(ctx, rows, remove)
}

func TestRepairNeverLosesWhatTheFollowerApplies(t *testing.T) {
	for name, repair := range map[string]func(s *reference.Service) error{
		"verify":  func(s *reference.Service) error { _, err := s.Verify(t.Context(), true); return err },
		"rebuild": func(s *reference.Service) error { return s.Rebuild(t.Context(), nil) },
	} {
		t.Run(name, func(t *testing.T) {
			s, h, ids := service(t, 3)
			rows, _ := h.model.Find(t.Context(), ids[1:2])
			rows[0].Reason = "invented"
			if err := h.model.Replace(t.Context(), rows, nil); err != nil {
				t.Fatal(err)
			}
			s.Repairs = &racing{h.model, func() {
				h.Move(ids[1], "sign", guarantee.Running)
				newest, _ := h.Snapshots(t.Context(), ids[1:2])
				if err := h.model.Apply(t.Context(), newest, reference.Stay); err != nil {
					t.Error(err)
				}
			}}
			if err := repair(s); err != nil {
				t.Fatal(err)
			}
			agree(t, h.Truth, h.model)
		})
	}
}

// late moves messages while rows are walked; the Follower hears of it later.
type late struct {
	*referencetest.Model
	before func()
}

func (l *late) Walk(ctx context.Context, after string, limit int) ([]reference.Row, error) {
	l.before()
	return l.Model.Walk(ctx, after, limit)
}

func TestRebuildMendsWhatNeverChangesAlsoInMovingMessages(t *testing.T) {
	s, h, ids := service(t, 3)
	rows, _ := h.model.Find(t.Context(), ids[1:2])
	odd := rows[0]
	odd.Attributes.Amount = "1000000"
	if err := h.model.Replace(t.Context(), []reference.Row{odd}, nil); err != nil {
		t.Fatal(err)
	}
	s.Repairs = &late{h.model, func() { h.Move(ids[1], "sign", guarantee.Running) }}
	if err := s.Rebuild(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	agree(t, h.Truth, h.model)
}

func TestServiceRefusesAndTellsFailures(t *testing.T) {
	s, h, _ := service(t, 3)
	var p *problem.Error
	for _, limit := range []int{-1, reference.MaxLimit + 1} {
		if _, err := s.List(t.Context(), reference.Query{Limit: limit}); !errors.As(err, &p) || p.Code != "limit-out-of-range" {
			t.Errorf("a limit of %d gives %v", limit, err)
		}
	}
	if page, err := s.List(t.Context(), reference.Query{Limit: 2}); err != nil || len(page.Rows) != 2 {
		t.Errorf("the list is %v, %v", page, err)
	}
	if counts, err := s.Counts(t.Context(), "cli_a"); err != nil || len(counts) != 2 {
		t.Errorf("the counts are %v, %v", counts, err)
	}
	h.model.Fail(errDown)
	if _, err := s.Verify(t.Context(), false); !errors.Is(err, errDown) {
		t.Errorf("verify ended with %v", err)
	}
	if err := s.Rebuild(t.Context(), nil); !errors.Is(err, errDown) {
		t.Errorf("rebuild ended with %v", err)
	}
}
