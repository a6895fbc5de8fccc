package client_test

import (
	"context"
	"log"
	"os"
	"testing"
)

// stage is what an example uses of a testing.TB, of which it has none.
type stage struct {
	testing.TB
	ctx     context.Context
	cleanup []func()
}

func (s *stage) Helper()                  {}
func (s *stage) Fatal(args ...any)        { log.Fatal(args...) }
func (s *stage) Error(args ...any)        { log.Print(args...) }
func (s *stage) Cleanup(f func())         { s.cleanup = append(s.cleanup, f) }
func (s *stage) Context() context.Context { return s.ctx }

func (s *stage) TempDir() string {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	s.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// scene gives an example what a test has; done takes down what was built with it.
func scene() (t testing.TB, done func()) {
	ctx, cancel := context.WithCancel(context.Background())
	s := &stage{ctx: ctx}
	return s, func() {
		cancel()
		for i := len(s.cleanup) - 1; i >= 0; i-- {
			s.cleanup[i]()
		}
	}
}
