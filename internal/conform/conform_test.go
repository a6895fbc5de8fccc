package conform_test

import (
	"testing"

	"github.com/avalhq/aval/internal/conform"
)

// TestACaseThatIsLeftOutFailsTheRun: by the case itself, or by a backend that cannot be opened for it; and a list of cases that leaves
// out a tier without saying why.
func TestACaseThatIsLeftOutFailsTheRun(t *testing.T) {
	open := func(*testing.T) int { return 7 }
	good := func(t *testing.T, seven int) {
		if seven != 7 {
			t.Error(seven)
		}
	}
	complete := func() map[string]func(*testing.T, int) {
		return map[string]func(*testing.T, int){"basic/a": good, "transactions/b": good, "concurrency/c": good, "faults/d": good}
	}
	reluctant, untiered := complete(), complete()
	reluctant["basic/e"] = func(inner *testing.T, _ int) { inner.SkipNow() }
	untiered["other/e"] = good
	missing := map[string]func(*testing.T, int){"basic/a": good, "concurrency/c": good, "faults/d": good}
	why := map[conform.Tier]string{conform.Transactions: "nothing changes with anything else"}
	for name, c := range map[string]struct {
		suite conform.Suite[int]
		open  func(*testing.T) int
		good  bool
	}{
		"complete":                         {conform.Suite[int]{Cases: complete()}, open, true},
		"beside each other":                {conform.Suite[int]{Cases: complete(), Parallel: true}, open, true},
		"a case is skipped":                {conform.Suite[int]{Cases: reluctant}, open, false},
		"a case is skipped beside others":  {conform.Suite[int]{Cases: reluctant, Parallel: true}, open, false},
		"the backend skips":                {conform.Suite[int]{Cases: complete()}, func(inner *testing.T) int { inner.SkipNow(); return 0 }, false},
		"a tier is missing":                {conform.Suite[int]{Cases: missing}, open, false},
		"a tier is missing, with a reason": {conform.Suite[int]{Cases: missing, Lacks: why}, open, true},
		"a reason for what is there":       {conform.Suite[int]{Cases: complete(), Lacks: why}, open, false},
		"a case is of no tier":             {conform.Suite[int]{Cases: untiered}, open, false},
	} {
		all := []testing.InternalTest{{Name: "Suite", F: func(inner *testing.T) { c.suite.Run(inner, c.open) }}}
		if ok := testing.RunTests(func(string, string) (bool, error) { return true, nil }, all); ok != c.good {
			t.Errorf("%s: the run is good: %t", name, ok)
		}
	}
}
