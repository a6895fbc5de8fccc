package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/typeid"
)

type benchLeasesCommand struct {
	Keys     int           `help:"How many keys there are, in one pool." default:"64" placeholder:"K"`
	Workers  []int         `help:"How many workers lease at once; several numbers with commas are measured in turn." default:"64" placeholder:"W"`
	Duration time.Duration `help:"How long each run lasts." default:"10s" placeholder:"TIME"`
	Runs     int           `help:"Measure so often, and give each run and the median by rate." default:"1" placeholder:"N"`
	File     string        `name:"config" env:"AVAL_CONFIG" help:"Configuration file, with the registry to measure: that of the database, etcd's or the key-manager's. Without it: SQLite in a temporary folder." placeholder:"FILE"`
	Profile  string        `name:"cpu-profile" help:"Write a CPU profile of the run to this file, for go tool pprof." placeholder:"FILE"`
}

// Help is shown by aval bench leases --help.
func (benchLeasesCommand) Help() string {
	return `Each worker takes the least recently used key and gives it back, without a pause and without signing: a cycle is both, each of them on the disk when it is answered. CPU is of this process, without the key-manager's and the servers'.

Where the keys are is what the configuration says: key_manager.address, else etcd.endpoints, else database.url. The database has to be one that no Aval has been started on: the keys stay in the registry for ever.

    aval bench leases --workers 1,16,64
    aval bench leases --config worker.yaml --keys 256 --workers 256 --duration 10s --runs 3 --output json`
}

// leaseFigures are what was measured.
type leaseFigures struct {
	Scenario string  `json:"scenario"`
	Workers  int     `json:"workers"`
	Keys     int     `json:"keys"`
	Count    int     `json:"count"`
	Errors   int     `json:"errors"`
	Seconds  float64 `json:"seconds"`
	Rate     float64 `json:"rate_per_second"`
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	CPU      float64 `json:"cpu_ms_per_unit"`
}

func (c *benchLeasesCommand) check() error {
	if c.Keys < 1 || c.Runs < 1 || c.Duration <= 0 || len(c.Workers) == 0 || slices.Min(c.Workers) < 1 {
		return misused("flag-invalid", "--keys, --workers and --runs have to be 1 or more, --duration more than 0")
	}
	return nil
}

// Run measures.
func (c *benchLeasesCommand) Run(ctx context.Context, s *screen) (err error) {
	if err := c.check(); err != nil {
		return err
	}
	b := leasesBench{benchLeasesCommand: c}
	if b.benchStorage, err = openBench(ctx, c.File, c.Profile); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.prepare(ctx); err != nil {
		return err
	}
	var all, medians []leaseFigures
	for _, workers := range c.Workers {
		var runs []leaseFigures
		for range c.Runs {
			got, err := b.measure(ctx, workers)
			if err != nil {
				return err
			}
			runs = append(runs, got)
		}
		all = append(all, runs...)
		median := median(runs, func(f leaseFigures) float64 { return f.Rate })
		if medians = append(medians, median); c.Runs > 1 {
			median.Scenario = "median"
			all = append(all, median)
		}
	}
	s.answer(medians, func() { leaseTable(s, all) })
	return nil
}

func leaseTable(s *screen, runs []leaseFigures) {
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "scenario\tworkers\tkeys\tcount\terrors\tseconds\trate/s\tp50 ms\tp99 ms\tCPU ms/unit\t")
	for _, f := range runs {
		_, _ = fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%.2f\t%.0f\t%.2f\t%.2f\t%.4f\t\n", f.Scenario, f.Workers, f.Keys, f.Count, f.Errors, f.Seconds, f.Rate, f.P50, f.P99, f.CPU)
	}
	_ = w.Flush() // to a terminal or a file, as the answers are
}

type leasesBench struct {
	*benchLeasesCommand
	benchStorage
}

// prepare registers keys that nobody can sign with.
func (b *leasesBench) prepare(ctx context.Context) error {
	for range b.Keys {
		address := make([]byte, common.AddressLength)
		_, _ = rand.Read(address) // it never fails
		if err := b.keys.Add(ctx, key.Key{ID: typeid.New("key"), Chain: b.network, Address: "0x" + hex.EncodeToString(address), Pool: b.pool}); err != nil {
			return err
		}
	}
	return nil
}

// cycles is what the workers of one run have done.
type cycles struct {
	mu     sync.Mutex
	spent  []time.Duration
	failed []error
}

func (c *cycles) note(took time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.failed = append(c.failed, err)
		return
	}
	c.spent = append(c.spent, took)
}

// measure has the workers lease and release until the time is over. Those that wait for a key then end without one.
func (b *leasesBench) measure(ctx context.Context, workers int) (f leaseFigures, err error) {
	var done cycles
	var group sync.WaitGroup
	running, stop := context.WithTimeout(ctx, b.Duration)
	defer stop()
	b.meter.Begin()
	for n := range workers {
		group.Go(func() { b.work(ctx, running, fmt.Sprintf("%s/bench-%d", b.holder, n), &done) })
	}
	group.Wait()
	seconds, cpu := time.Since(b.meter.begun).Seconds(), cpuTime()-b.meter.cpu
	if err := ctx.Err(); err != nil {
		return f, err
	}
	n := len(done.spent)
	if n == 0 {
		return f, problem.New(problem.Internal, "bench-empty", "no lease was taken and given back within the time: %w", errors.Join(done.failed...))
	}
	slices.Sort(done.spent)
	return leaseFigures{"leases", workers, b.Keys, n, len(done.failed), seconds, float64(n) / seconds,
		quantile(done.spent, 0.5), quantile(done.spent, 0.99), ms(cpu) / float64(n)}, nil
}

// work leases and releases. After an error it waits a little, so as not to count the same one thousands of times.
func (b *leasesBench) work(ctx, running context.Context, holder string, done *cycles) {
	for running.Err() == nil {
		began := time.Now()
		l, err := b.keys.Lease(running, key.Request{Holder: holder, Chain: b.network, Pool: b.pool, TTL: time.Minute})
		if err == nil {
			err = b.keys.Release(ctx, l)
		} else if running.Err() != nil {
			return // it had no key when the time was over
		}
		done.note(time.Since(began), err)
		if err != nil {
			select {
			case <-time.After(100 * time.Millisecond):
			case <-running.Done():
			}
		}
	}
}
