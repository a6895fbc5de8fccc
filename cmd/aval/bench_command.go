package main

import (
	"context"
	"os"

	"github.com/avalhq/aval/internal/problem"
)

// benchCommands measure on this machine, with fsync on, and print a table or JSON.
type benchCommands struct {
	Steps     benchStepsCommand     `cmd:"" help:"The engine alone: workflows of seven Tasks, each committed before the next begins. The unit of rate is a step."`
	Messages  benchMessagesCommand  `cmd:"" help:"Signed note.v1 messages through the HTTP API, from submission to the archive."`
	Leases    benchLeasesCommand    `cmd:"" help:"Leases on keys: taken and given back, in the registry of the configuration. The unit of rate is a cycle of both."`
	Signing   benchSigningCommand   `cmd:"" help:"The signing pipeline on PostgreSQL: from unsigned rows to verified transactions."`
	Transfers benchTransfersCommand `cmd:"" help:"Signed transfer.v1 messages through the HTTP API, to confirmed on the development chain."`
}

// Help shows examples.
func (benchCommands) Help() string {
	return `Latencies are of whole workflows; platform, chain and load share this process. Examples:

    aval bench steps --in-flight 64
    aval bench steps --in-flight 64 --config cluster.yaml
    aval bench messages --in-flight 128 --duration 20s
    aval bench leases --config cluster.yaml --keys 64 --workers 16,64
    aval bench signing --config cluster.yaml --count 30000 --workers 1,2,4 --keys 16
    aval bench transfers --keys 16 --output json
    aval bench transfers --keys 16 --node geth --rate 50
    aval bench transfers --keys 16 --node geth --in-flight 4096 --count 20000`
}

type benchStepsCommand struct {
	benchFlags
}

// Run measures.
func (c *benchStepsCommand) Run(ctx context.Context, s *screen) error {
	return c.bench(s, func(m *meter) (figures, error) { return benchSteps(ctx, m) })
}

type benchMessagesCommand struct {
	benchFlags
}

// Run measures.
func (c *benchMessagesCommand) Run(ctx context.Context, s *screen) error {
	return c.bench(s, func(m *meter) (figures, error) { return benchMessages(ctx, m) })
}

type benchTransfersCommand struct {
	benchFlags
	Keys int    `help:"How many wallets send, each with a key of its own." default:"16" placeholder:"N"`
	Rate int    `help:"Begin so many a second, evenly, instead of as many as --in-flight allows: for the time from submission to sent." default:"0" placeholder:"N"`
	Node string `help:"Send to this chain instead of the embedded one, and measure the node alone beside it: geth starts it with blocks of 1 s and 60 M gas; a URL is a development node that is there." placeholder:"geth|URL"`
}

// Run measures.
func (c *benchTransfersCommand) Run(ctx context.Context, s *screen) error {
	if c.Keys < 1 || c.Rate < 0 {
		return problem.New(problem.Invalid, "flag-invalid", "--keys has to be 1 or more, --rate not negative")
	}
	c.InFlight = max(c.InFlight, 20*c.Rate) // a transfer is under way for seconds
	return c.bench(s, func(m *meter) (figures, error) {
		m.rate = c.Rate
		return benchTransfers(ctx, m, c.Keys, c.Node)
	})
}

// bench checks the flags, runs the scenario with progress on a terminal, and prints the figures.
func (f *benchFlags) bench(s *screen, scenario func(*meter) (figures, error)) error {
	if err := f.check(); err != nil {
		return err
	}
	var runs []figures
	for range f.Runs {
		got, err := f.once(scenario)
		if err != nil {
			return err
		}
		runs = append(runs, got)
	}
	return printFigures(s.out, s.json, runs)
}

func (f *benchFlags) once(scenario func(*meter) (figures, error)) (figures, error) {
	m := newMeter(*f)
	end, err := m.profiled()
	if err != nil {
		return figures{}, err
	}
	defer end()
	defer m.progress(os.Stderr)()
	return scenario(m)
}
