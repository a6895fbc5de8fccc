package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"github.com/avalhq/aval/internal/config"
	"github.com/avalhq/aval/internal/problem"
)

// benchFlags are what all scenarios share.
type benchFlags struct {
	InFlight int           `help:"How many workflows are under way at once." default:"64" placeholder:"N"`
	Count    int           `help:"Stop after so many workflows; 0 for no such bound." default:"0" placeholder:"N"`
	Duration time.Duration `help:"Stop after this time; 0 for no such bound. Without any bound: 10s." default:"0" placeholder:"TIME"`
	Runs     int           `help:"Measure so often, and give each run and the median by rate." default:"1" placeholder:"N"`
	Data     string        `help:"Run in this folder, and leave it. Otherwise in a temporary one." placeholder:"DIR"`
	File     string        `name:"config" env:"AVAL_CONFIG" help:"Configuration file, for the database to measure on. Without it: SQLite files in the folder." placeholder:"FILE"`
	Profile  string        `name:"cpu-profile" help:"Write a CPU profile of the run to this file, for go tool pprof." placeholder:"FILE"`
}

func (f *benchFlags) check() error {
	if f.InFlight < 1 || f.Count < 0 || f.Duration < 0 || f.Runs < 1 {
		return problem.New(problem.Invalid, "flag-invalid", "--in-flight and --runs have to be 1 or more, --count and --duration not negative")
	}
	if f.Count == 0 && f.Duration == 0 {
		f.Duration = 10 * time.Second
	}
	return nil
}

// config is that of the file, or the default one; whatever is written goes into the folder.
func (f *benchFlags) config(folder string) (config.Config, error) {
	cfg := config.Default()
	if f.File != "" {
		var err error
		if cfg, err = (settings{}).read(f.File); err != nil {
			return cfg, err
		}
	}
	if f.File == "" || cfg.Database.URL == "" {
		cfg.Data, cfg.Custody = filepath.Join(folder, "data"), config.Custody{KeyFile: filepath.Join(folder, "aval.kek")}
	}
	cfg.API.Listen, cfg.Auth.DevIssuer, cfg.Chain.Dev.Port = "127.0.0.1:0", true, 0
	cfg.Chain.Dev.BlockTime = 100 * time.Millisecond
	cfg.Controller.InFlight = max(cfg.Controller.InFlight, 2048)
	return cfg, nil
}

// folder gives the folder to run in, and what takes it away afterwards.
func (f *benchFlags) folder() (path string, remove func(), err error) {
	if f.Data != "" {
		return f.Data, func() {}, os.MkdirAll(f.Data, 0o700)
	}
	path, err = os.MkdirTemp("", "aval-bench-")
	return path, func() { _ = os.RemoveAll(path) }, err
}

// figures are what a scenario has measured. A unit is a step for steps, a message or a transfer otherwise; latencies are of
// whole workflows.
type figures struct {
	Scenario string  `json:"scenario"`
	InFlight int     `json:"in_flight"`
	Count    int     `json:"count"`
	Seconds  float64 `json:"seconds"`
	Rate     float64 `json:"rate_per_second"`
	P50      float64 `json:"p50_ms"`
	P95      float64 `json:"p95_ms"`
	P99      float64 `json:"p99_ms"`
	CPU      float64 `json:"cpu_ms_per_unit"`
	Sent     *toSent `json:"sent,omitempty"`       // transfers alone
	Node     *alone  `json:"node_alone,omitempty"` // measured in the same run, after it
}

// meter counts what ends and how long it took. At most InFlight are under way; Enter waits for a place.
type meter struct {
	flags  benchFlags
	places chan struct{}
	begun  time.Time
	cpu    time.Duration
	mu     sync.Mutex
	spent  []time.Duration
	failed int

	rate    int       // workflows to begin a second; 0: as many as there are places for
	profile io.Writer // of the CPU; nil for none
}

func newMeter(flags benchFlags) *meter {
	return &meter{flags: flags, places: make(chan struct{}, flags.InFlight)}
}

// profiled makes the file of the CPU profile, where one is wanted; end closes both.
func (m *meter) profiled() (end func(), err error) {
	if m.flags.Profile == "" {
		return func() {}, nil
	}
	made, err := os.Create(m.flags.Profile)
	if err != nil {
		return nil, problem.New(problem.Invalid, "flag-invalid", "cannot write the profile: %w", err)
	}
	m.profile = made
	return func() { pprof.StopCPUProfile(); _ = made.Close() }, nil
}

// Begin starts the clock, when all is prepared.
func (m *meter) Begin() {
	if m.profile != nil {
		_ = pprof.StartCPUProfile(m.profile) // fails only when another profile is being written: then it is that one's
	}
	m.begun, m.cpu = time.Now(), cpuTime()
}

// Enter waits for a place for the nth workflow, n from 0; it tells false when the bound is reached.
func (m *meter) Enter(ctx context.Context, n int) bool {
	if m.flags.Count > 0 && n >= m.flags.Count || m.flags.Duration > 0 && time.Since(m.begun) >= m.flags.Duration {
		return false
	}
	select {
	case m.places <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// Pace waits until it is the nth workflow's turn at the rate.
func (m *meter) Pace(ctx context.Context, n int) {
	if m.rate == 0 {
		return
	}
	turn := m.begun.Add(time.Duration(n) * time.Second / time.Duration(m.rate))
	select {
	case <-time.After(time.Until(turn)):
	case <-ctx.Done():
	}
}

// Leave ends a workflow that began then; ok tells whether it went well.
func (m *meter) Leave(began time.Time, ok bool) {
	m.mu.Lock()
	if ok {
		m.spent = append(m.spent, time.Since(began))
	} else {
		m.failed++
	}
	m.mu.Unlock()
	<-m.places
}

// Drain waits for those under way.
func (m *meter) Drain(ctx context.Context) {
	for range m.flags.InFlight {
		select {
		case m.places <- struct{}{}:
		case <-ctx.Done():
			return
		}
	}
}

// figures closes the books: units is how many a workflow counts for.
func (m *meter) figures(scenario string, units int) (figures, error) {
	seconds, cpu := time.Since(m.begun).Seconds(), cpuTime()-m.cpu
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failed > 0 {
		return figures{}, problem.New(problem.Internal, "bench-failed", "%d of %d workflows did not end well; no figure is given", m.failed, m.failed+len(m.spent))
	}
	if len(m.spent) == 0 {
		return figures{}, problem.New(problem.Internal, "bench-empty", "no workflow ended within the bound; give more time")
	}
	slices.Sort(m.spent)
	at := func(q float64) float64 { return quantile(m.spent, q) }
	n := len(m.spent) * units
	return figures{
		Scenario: scenario, InFlight: m.flags.InFlight, Count: n, Seconds: seconds, Rate: float64(n) / seconds,
		P50: at(0.50), P95: at(0.95), P99: at(0.99), CPU: ms(cpu) / float64(n),
	}, nil
}

// progress tells on a terminal how far it is, until the func given back is called.
func (m *meter) progress(out *os.File) (end func()) {
	if !term.IsTerminal(int(out.Fd())) {
		return func() {}
	}
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				m.mu.Lock()
				n := len(m.spent)
				m.mu.Unlock()
				_, _ = fmt.Fprintf(out, "\r%8d workflows have ended ", n)
			case <-done:
				_, _ = fmt.Fprint(out, "\r\033[K")
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

// quantile is in milliseconds; the times are sorted, and there is one.
func quantile(sorted []time.Duration, q float64) float64 {
	return ms(sorted[min(int(q*float64(len(sorted))), len(sorted)-1)])
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// cpuTime is what this process has used of all cores, the development chain and the load's own client included.
func cpuTime() time.Duration {
	var use syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &use) != nil {
		return 0
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// median is the run in the middle by rate.
func median[F any](runs []F, rate func(F) float64) F {
	sorted := slices.SortedFunc(slices.Values(runs), func(a, b F) int { return cmp.Compare(rate(a), rate(b)) })
	return sorted[len(sorted)/2]
}

// printFigures prints the runs and their median; of a single run, that run. JSON is the median alone.
func printFigures(out io.Writer, asJSON bool, runs []figures) error {
	median := median(runs, func(f figures) float64 { return f.Rate })
	if asJSON {
		return json.NewEncoder(out).Encode(median)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(w, "scenario\tin flight\tcount\tseconds\trate/s\tp50 ms\tp95 ms\tp99 ms\tCPU ms/unit\t")
	row := func(name string, f figures) {
		_, _ = fmt.Fprintf(w, "%s\t%d\t%d\t%.2f\t%.0f\t%.2f\t%.2f\t%.2f\t%.4f\t\n", name, f.InFlight, f.Count, f.Seconds, f.Rate, f.P50, f.P95, f.P99, f.CPU)
	}
	for _, f := range runs {
		row(f.Scenario, f)
	}
	if len(runs) > 1 {
		row("median", median)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	printSent(out, runs)
	printAlone(out, runs)
	return nil
}
