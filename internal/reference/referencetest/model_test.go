package referencetest_test

import (
	"testing"

	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/reference/referencetest"
)

func TestModel(t *testing.T) {
	referencetest.Run(t, func(*testing.T) referencetest.Subject {
		m := referencetest.NewModel()
		m.Faults = fault.New()
		return referencetest.Subject{Store: m, Repairs: m, Faults: m.Faults}
	})
}

func TestTruth(t *testing.T) {
	referencetest.RunSource(t, func(*testing.T) referencetest.SourceSubject {
		g := referencetest.NewTruth()
		for i, id := range g.Accept("cli_a", 7) {
			if i%2 == 0 {
				g.Move(id, "done", guarantee.Succeeded)
			}
		}
		return referencetest.SourceSubject{Source: g, Want: g.All()}
	})
}
