// Command river runs the seven-step chain of `aval bench steps` on River (github.com/riverqueue/river) over SQLite, or over a
// PostgreSQL database, with the same durability, as a peer to measure beside: 64 chains in flight, each step a job that
// inserts the next one, jobs completed by River's batch completer. It is a module of its own, so that Aval does not depend on
// River.
//
//	go run . -duration 10s
//	go run . -duration 10s -postgres "$URL"    # a database of its own, on the server that Aval is measured on
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
	_ "modernc.org/sqlite"
)

const steps = 7

// job is one step of one chain, with about 1 KB to carry.
type job struct {
	Step  int       `json:"step"`
	Begun time.Time `json:"begun"`
	Text  string    `json:"text"`
}

// Kind names the job's type.
func (job) Kind() string { return "step" }

type worker[T any] struct {
	river.WorkerDefaults[job]
	ended func(job)
}

// Work inserts the next step, or ends the chain.
func (w *worker[T]) Work(ctx context.Context, j *river.Job[job]) error {
	next := j.Args
	if next.Step++; next.Step > steps {
		w.ended(j.Args)
		return nil
	}
	_, err := river.ClientFromContext[T](ctx).Insert(ctx, next, nil)
	return err
}

func main() {
	inFlight := flag.Int("in-flight", 64, "chains at once")
	duration := flag.Duration("duration", 10*time.Second, "how long")
	postgres := flag.String("postgres", "", "URL of a PostgreSQL database to run on, instead of SQLite")
	flag.Parse()
	err := error(nil)
	if *postgres != "" {
		err = onPostgres(*postgres, *inFlight, *duration)
	} else {
		err = onSQLite(*inFlight, *duration)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "river:", err)
		os.Exit(1)
	}
}

// chains counts what is under way and what has ended.
type chains struct {
	places chan struct{}
	mu     sync.Mutex
	spent  []time.Duration
}

func (c *chains) ended(j job) {
	c.mu.Lock()
	c.spent = append(c.spent, time.Since(j.Begun))
	c.mu.Unlock()
	<-c.places
}

// onPostgres uses River's own driver for it, with connections for all of the workers.
func onPostgres(url string, inFlight int, duration time.Duration) error {
	ctx := context.Background()
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return err
	}
	config.MaxConns = 32
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	defer pool.Close()
	return run(riverpgxv5.New(pool), inFlight, duration)
}

func onSQLite(inFlight int, duration time.Duration) error {
	folder, err := os.MkdirTemp("", "river-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(folder, "river.db")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(10000)&_txlock=immediate")
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // as River's documentation asks for SQLite
	return run(riversqlite.New(db), inFlight, duration)
}

func run[T any](driver riverdriver.Driver[T], inFlight int, duration time.Duration) error {
	c := &chains{places: make(chan struct{}, inFlight)}
	ctx := context.Background()
	client, err := start(ctx, driver, c, inFlight)
	if err != nil {
		return err
	}
	begun := time.Now()
	if err := load(ctx, client, c, duration); err != nil {
		return err
	}
	seconds := time.Since(begun).Seconds()
	if err := client.Stop(ctx); err != nil {
		return err
	}
	return report(c.spent, inFlight, seconds)
}

func start[T any](ctx context.Context, driver riverdriver.Driver[T], c *chains, inFlight int) (*river.Client[T], error) {
	migrator, err := rivermigrate.New(driver, nil)
	if err != nil {
		return nil, err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, err
	}
	workers := river.NewWorkers()
	river.AddWorker(workers, &worker[T]{ended: c.ended})
	client, err := river.NewClient(driver, &river.Config{
		Workers: workers, Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: inFlight}},
		FetchCooldown: time.Millisecond, FetchPollInterval: time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	return client, client.Start(ctx)
}

// load keeps as many chains under way as there are places, and at the end waits for all.
func load[T any](ctx context.Context, client *river.Client[T], c *chains, duration time.Duration) error {
	text := strings.Repeat("x", 900)
	for begun := time.Now(); time.Since(begun) < duration; {
		c.places <- struct{}{}
		if _, err := client.Insert(ctx, job{Step: 1, Begun: time.Now(), Text: text}, nil); err != nil {
			return err
		}
	}
	for range cap(c.places) {
		c.places <- struct{}{}
	}
	return nil
}

func report(spent []time.Duration, inFlight int, seconds float64) error {
	slices.Sort(spent)
	at := func(q float64) float64 { return float64(spent[int(q*float64(len(spent)-1))].Microseconds()) / 1000 }
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"scenario": "river steps", "in_flight": inFlight, "count": len(spent) * steps, "seconds": seconds,
		"rate_per_second": float64(len(spent)*steps) / seconds, "p50_ms": at(0.5), "p95_ms": at(0.95), "p99_ms": at(0.99),
	})
}
