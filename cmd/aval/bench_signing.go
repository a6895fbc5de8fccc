package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/avalhq/aval/internal/bus"
	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/custody/keystore/sealed"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/custody/verify"
	"github.com/avalhq/aval/internal/lifecycle"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/relay"
)

type benchSigningCommand struct {
	Count   int    `help:"How many transactions." default:"30000" placeholder:"N"`
	Workers []int  `help:"How many signing workers; several numbers with commas are measured in turn." default:"1,2,4" placeholder:"W"`
	Keys    int    `help:"How many keys sign." default:"16" placeholder:"K"`
	Batch   int    `help:"The most requests that a worker takes at once." default:"1024" placeholder:"N"`
	File    string `name:"config" required:"" env:"AVAL_CONFIG" help:"Configuration file, with the database to measure on: one that is used for nothing else." placeholder:"FILE"`
	Profile string `name:"cpu-profile" help:"Write a CPU profile of the run to this file, for go tool pprof." placeholder:"FILE"`
}

// Help is shown by aval bench signing --help.
func (benchSigningCommand) Help() string {
	return `From unsigned rows in PostgreSQL to verified transactions: relay, bus, signing workers and the verifier run in this process, each as in a cluster, with every commit on the disk. The clock runs from the moment they start until the verdict on the last transaction is recorded. Nothing is sent to a chain. CPU is of this process, without the server's.

The database has to be one that no Aval has been started on: what is signed for a measurement stays in its record for ever.

    aval database init --user aval --password env:AVAL_DATABASE_PASSWORD
    aval bench signing --config bench.yaml --count 30000 --workers 1,2,4 --keys 16`
}

// signingFigures are what was measured.
type signingFigures struct {
	Scenario string  `json:"scenario"`
	Workers  int     `json:"workers"`
	Keys     int     `json:"keys"`
	Count    int     `json:"count"`
	Seconds  float64 `json:"seconds"`
	Rate     float64 `json:"rate_per_second"`
	CPU      float64 `json:"cpu_ms_per_unit"`
}

// Run measures.
func (c *benchSigningCommand) Run(ctx context.Context, s *screen) (err error) {
	if c.Count < 1 || c.Keys < 1 || c.Batch < 1 {
		return misused("flag-invalid", "--count, --keys and --batch have to be 1 or more")
	}
	b := signingBench{benchSigningCommand: c}
	if b.benchStorage, err = openBench(ctx, c.File, c.Profile); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.prepare(ctx); err != nil {
		return err
	}
	var runs []signingFigures
	for _, workers := range c.Workers {
		if workers < 1 {
			return misused("flag-invalid", "--workers takes numbers from 1 on")
		}
		got, err := b.measure(ctx, workers)
		if err != nil {
			return err
		}
		runs = append(runs, got)
	}
	s.answer(runs, func() { signingTable(s, runs) })
	return nil
}

func signingTable(s *screen, runs []signingFigures) {
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "scenario\tworkers\tkeys\tcount\tseconds\trate/s\tCPU ms/unit\t")
	for _, f := range runs {
		_, _ = fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%.2f\t%.0f\t%.4f\t\n", f.Scenario, f.Workers, f.Keys, f.Count, f.Seconds, f.Rate, f.CPU)
	}
	_ = w.Flush() // to a terminal or a file, as the answers are
}

// signingBench is the signing pipeline without a chain.
type signingBench struct {
	*benchSigningCommand
	benchStorage
	store *sealed.Store
	judge *verify.Verifier
}

// prepare makes keys in a key store that is gone afterwards: what the bench signs is of no use to anybody.
func (b *signingBench) prepare(ctx context.Context) (err error) {
	if b.contract == nil {
		return misused("job-needs-database", "this measures on a PostgreSQL database, and %s names none; set database.url", b.File)
	}
	if b.store, err = sealed.Open(ctx, sealed.Options{Folder: filepath.Join(b.folder, "keys"), KeyFile: filepath.Join(b.folder, "kek"), Create: true}); err != nil {
		return err
	}
	maker := b.signer(0)
	for range b.Keys {
		if _, err := maker.CreateKey(ctx, b.network, b.pool); err != nil {
			return err
		}
	}
	b.judge = verify.New(verify.Ports{Transactions: b.transactions, Keys: b.keys, Verdicts: b.verdicts, Codec: decoder}, verify.Options{})
	return nil
}

// signer signs with keys that no chain has seen.
func (b *signingBench) signer(worker int) *signer.Signer {
	fresh := func(context.Context, string, string) (chain.Account, error) { return chain.Account{}, nil }
	return signer.New(b.keys, b.decisions, b.store, evmCodec, fresh, signer.Options{Holder: fmt.Sprintf("%s/bench-%d", b.holder, worker), Wait: leaseWait})
}

// measure stocks the database and signs everything.
func (b *signingBench) measure(ctx context.Context, workers int) (f signingFigures, err error) {
	if err := seedRequests(ctx, b.requests, b.network, b.pool, b.Count, func(int) {}); err != nil {
		return f, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	v := &verified{bench: b, want: b.Count, seen: map[string]bool{}, done: stop}
	var group lifecycle.Group
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	group.Add("relay", (&relay.Relay{Sources: []relay.Source{&relay.Unsigned{Requests: b.requests, Again: time.Minute}}, Cursors: b.cursors, Bus: b.bus, Log: log}).Run)
	for n := range workers {
		w := &signer.Worker{Signer: b.signer(n), Decisions: b.decisions, Requests: b.requests, Bus: b.bus, Log: log}
		group.Add("worker", bus.Consumer{Bus: b.bus, Parked: b.parked, Group: signer.Group, Topics: []string{bus.Unsigned}, Batch: b.Batch, Handle: w.Handle, Log: log}.Run)
	}
	group.Add("verifier", bus.Consumer{Bus: b.bus, Parked: b.parked, Group: "bench-verify", Topics: []string{bus.Signed}, Batch: b.Batch, Handle: v.handle, Log: log}.Run)
	b.meter.Begin()
	err = group.Run(ctx)
	if err == nil {
		err = v.failed
	}
	if err == nil && len(v.seen) < b.Count {
		err = problem.New(problem.Internal, "bench-failed", "%d of %d transactions were verified; no figure is given", len(v.seen), b.Count)
	}
	seconds := v.at.Sub(b.meter.begun).Seconds()
	return signingFigures{"signing", workers, b.Keys, b.Count, seconds, float64(b.Count) / seconds, ms(v.cpu-b.meter.cpu) / float64(b.Count)}, err
}

// verified counts the transactions on which the verdict is recorded, until it has seen all.
type verified struct {
	bench  *signingBench
	want   int
	done   func()
	mu     sync.Mutex
	seen   map[string]bool
	failed error
	at     time.Time
	cpu    time.Duration
}

func (v *verified) handle(ctx context.Context, records []bus.Record) []error {
	errs := make([]error, len(records))
	shown := make([]verify.Seen, len(records))
	for i, r := range records {
		d, err := signer.ReadSigned(r)
		shown[i], errs[i] = verify.Seen{Chain: d.Chain, Raw: d.Signed.Raw}, err
	}
	verdicts, err := v.bench.judge.Judge(ctx, shown)
	if err == nil {
		_, err = v.bench.judge.Record(ctx, verdicts)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := range errs {
		if errs[i] = err; err == nil && verdicts[i].Word != verify.Good {
			v.failed = problem.New(problem.Internal, "bench-failed", "a transaction is not what was decided: %s", verdicts[i].Why)
		}
		if err == nil {
			v.seen[verdicts[i].Hash] = true
		}
	}
	if len(v.seen) >= v.want || v.failed != nil {
		v.at, v.cpu = time.Now(), cpuTime()
		v.done()
	}
	return errs
}
