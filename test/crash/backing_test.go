package crash

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/avalhq/aval/internal/backend/sqlite"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/reference"
	"github.com/avalhq/aval/internal/transaction"
	"github.com/avalhq/aval/test/e2e/stage"
)

// backing is what the process stores in. The run opens it only while no process lives.
type backing interface {
	// configure adds to the process's configuration.
	configure(fields map[string]any)
	// reference and custody open parts of it; end closes them.
	reference(ctx context.Context, in *stage.Installation) (view reference.Repairs, end func() error, err error)
	custody(ctx context.Context, in *stage.Installation) (custody, error)
	// dropSecret takes a sealed secret away, so that it is made anew.
	dropSecret(ctx context.Context, in *stage.Installation, name string) error
	// strikes are what else happens to a process on it.
	strikes() []strike
}

// custody is what keys have decided and signed, read from outside.
type custody struct {
	decisions signer.Decisions
	journal   transaction.Journal
	keys      key.Registry
	end       func() error
}

// files is the backing of the embedded size.
type files struct{}

func inFiles(*testing.T) backing { return files{} }

func (files) configure(map[string]any) {}

func (files) reference(ctx context.Context, in *stage.Installation) (reference.Repairs, func() error, error) {
	db, err := sqlite.OpenReference(ctx, in.Data("reference.db"), sqlite.Options{})
	if err != nil {
		return nil, nil, err
	}
	return sqlite.NewReference(db), db.Close, nil
}

func (files) custody(ctx context.Context, in *stage.Installation) (c custody, err error) {
	db, err := sqlite.Open(ctx, in.Data("aval.db"), sqlite.Options{})
	if err != nil {
		return c, err
	}
	return custody{sqlite.NewDecisions(db), sqlite.NewTransactions(db), sqlite.NewKeys(db), db.Close}, nil
}

func (files) dropSecret(_ context.Context, in *stage.Installation, name string) error {
	err := os.Remove(in.Data(filepath.Join("keys", "secrets", name+".sealed")))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (files) strikes() []strike { return nil }
