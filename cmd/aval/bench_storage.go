package main

import (
	"context"
	"errors"
	"os"

	"github.com/avalhq/aval/internal/chain/evm"
	"github.com/avalhq/aval/internal/typeid"
)

// benchStorage is storage without a platform, for a bench that measures what stands on it: with a pool of keys and a folder of
// the bench's own. What stays in a database stays there for ever; the folder is gone afterwards.
type benchStorage struct {
	storage
	meter   *meter
	network string
	pool    string
	folder  string
}

// openBench opens the database that the configuration names, which no Aval may have been started on, or SQLite files.
func openBench(ctx context.Context, file, profile string) (b benchStorage, err error) {
	flags := benchFlags{InFlight: 1, File: file, Profile: profile}
	folder, remove, err := flags.folder()
	if err != nil {
		return b, err
	}
	b = benchStorage{meter: newMeter(flags), pool: typeid.New("bench"), folder: folder}
	end, err := b.meter.profiled()
	if err != nil {
		remove()
		return b, err
	}
	if err = b.open(ctx, flags); err != nil {
		end()
		remove()
		return b, err
	}
	opened := b.close
	b.close = func() error { defer remove(); end(); return opened() }
	return b, nil
}

func (b *benchStorage) open(ctx context.Context, flags benchFlags) error {
	cfg, err := flags.config(b.folder)
	if err == nil && cfg.Database.URL == "" {
		err = os.Mkdir(cfg.Data, 0o700)
	}
	if err != nil {
		return err
	}
	b.network = evm.NewCodec(cfg.Chain.ID).ID()
	if b.storage, err = openStorage(ctx, cfg, nil); err != nil || b.contract == nil {
		return err
	}
	_, begun, err := b.contract(ctx)
	if err == nil && begun {
		err = misused("bench-database-used", "an Aval has been started on this database; name one that is used for nothing else, and prepare it with aval database init")
	}
	if err != nil {
		return errors.Join(err, b.close())
	}
	return nil
}
