package health_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/avalhq/aval/internal/telemetry/health"
)

func fine(context.Context) error { return nil }

func TestReadinessIncludesLiveness(t *testing.T) {
	c := health.New(time.Second, time.Second)
	c.Live("controller", fine)
	c.Ready("chain", func(context.Context) error { return errors.New("the node does not answer") })
	if live := c.Liveness(); !live.OK || len(live.Checks) != 1 {
		t.Errorf("liveness: %+v", live)
	}
	ready := c.Readiness()
	if ready.OK || len(ready.Checks) != 2 || !ready.Checks[0].OK || ready.Checks[1].Error != "the node does not answer" {
		t.Errorf("readiness: %+v", ready)
	}
}

func TestANoteFailsNothing(t *testing.T) {
	c := health.New(time.Second, time.Second)
	c.Ready("chain", fine)
	text := ""
	c.Note("control points", func() string { return text })
	if ready := c.Readiness(); !ready.OK || len(ready.Checks) != 1 {
		t.Errorf("with nothing to note: %+v", ready)
	}
	text = "the bank is left alone"
	if ready := c.Readiness(); !ready.OK || len(ready.Checks) != 2 || !ready.Checks[1].OK || ready.Checks[1].Note != text {
		t.Errorf("with a note: %+v", ready)
	}
	if live := c.Liveness(); len(live.Checks) != 0 {
		t.Errorf("liveness: %+v", live)
	}
}

func TestResultsAreCached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs atomic.Int32
		c := health.New(5*time.Second, time.Second)
		c.Ready("database", func(context.Context) error { runs.Add(1); return nil })
		for range 10 {
			c.Readiness()
		}
		if runs.Load() != 1 {
			t.Errorf("ten questions at once ran the check %d times", runs.Load())
		}
		time.Sleep(5 * time.Second)
		if c.Readiness(); runs.Load() != 2 {
			t.Errorf("a stale result was not renewed: %d runs", runs.Load())
		}
	})
}

func TestHangingCheckFailsAndIsNotStartedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs atomic.Int32
		release := make(chan struct{})
		c := health.New(time.Second, 2*time.Second)
		c.Ready("disk", func(context.Context) error { runs.Add(1); <-release; return nil })
		began := time.Now()
		if r := c.Readiness(); r.OK || r.Checks[0].Error == "" {
			t.Errorf("a check that hangs passed: %+v", r)
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("the answer took %s, want the limit", took)
		}
		time.Sleep(time.Minute)
		c.Readiness()
		if runs.Load() != 1 {
			t.Errorf("a check that hangs was started %d times", runs.Load())
		}
		close(release)
		synctest.Wait()
		time.Sleep(time.Second)
		if r := c.Readiness(); !r.OK {
			t.Errorf("it has recovered: %+v", r)
		}
	})
}

func TestSinceMarksTheChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("no")
		var answer error
		c := health.New(time.Second, time.Second)
		c.Ready("chain", func(context.Context) error { return answer })
		first := c.Readiness().Checks[0].Since
		time.Sleep(time.Minute)
		if again := c.Readiness().Checks[0].Since; !again.Equal(first) {
			t.Errorf("well since %s, then since %s", first, again)
		}
		answer = broken
		time.Sleep(time.Minute)
		if now := c.Readiness().Checks[0].Since; !now.Equal(time.Now()) {
			t.Errorf("broken since %s", now)
		}
	})
}

func TestPanicIsAFailedCheck(t *testing.T) {
	c := health.New(time.Second, time.Second)
	c.Live("controller", func(context.Context) error { panic("nil map") })
	if r := c.Liveness(); r.OK {
		t.Errorf("a panic passed: %+v", r)
	}
}

func TestHandler(t *testing.T) {
	for want, answer := range map[int]error{200: nil, 503: errors.New("no")} {
		c := health.New(time.Second, time.Second)
		c.Ready("chain", func(context.Context) error { return answer })
		w := httptest.NewRecorder()
		health.Handler(c.Readiness).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		var report health.Report
		if err := json.Unmarshal(w.Body.Bytes(), &report); err != nil || w.Code != want || report.OK != (want == 200) {
			t.Errorf("want %d, got %d %s (%v)", want, w.Code, w.Body, err)
		}
	}
}
