// Command aval is the whole of Aval in one program: the platform (dev, serve, demo), and the client and operator commands
// that speak to a running one through its HTTP API.
//
// Each command is a struct whose fields are its flags and whose Run does the work; files are named after the command
// group. A command writes what it was asked for to standard output, as text for people or with --output json for programs,
// and what went wrong to standard error, in one sentence. Only this package reads the environment, knows which backend
// stands behind a port, and decides on exit codes (see failure.go).
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"
)

// cli is the grammar of the command line.
type cli struct {
	Output  string `short:"o" enum:"text,json" default:"text" help:"What to print: text for people, json for programs." placeholder:"text|json"`
	Connect access `embed:""`

	Demo demoCommand `cmd:"" group:"try" help:"Run one transfer from the signed message to the mined transaction, and show it."`
	Dev  devCommand  `cmd:"" group:"try" help:"Run the platform with a development chain and a ready-made client."`

	Message   messageCommands   `cmd:"" group:"use" help:"Sign, send and follow messages."`
	Wallet    walletCommands    `cmd:"" group:"use" help:"Create wallets and look at them."`
	Task      taskCommands      `cmd:"" group:"use" help:"Answer tasks that wait for somebody."`
	Client    clientCommands    `cmd:"" group:"operate" help:"Register clients and say who signs for them."`
	Key       keyCommands       `cmd:"" group:"operate" help:"Look at the signing keys; make a client's signer key."`
	Tx        txCommands        `cmd:"" group:"operate" help:"See what is pending on the chain, and act on it."`
	Reference referenceCommands `cmd:"" group:"operate" help:"Check and mend the read model."`
	Workflow  workflowCommands  `cmd:"" group:"operate" help:"List and check workflow definitions."`

	ControlPoint controlPointCommands `cmd:"" group:"operate" help:"Look at the calls to other systems, and try them."`

	Serve    serveCommand     `cmd:"" group:"operate" help:"Run the platform as a configuration file says."`
	Config   configCommands   `cmd:"" group:"operate" help:"Show and check the configuration."`
	Backup   backupCommand    `cmd:"" group:"operate" help:"Save everything of an installation in a sealed file, while it runs."`
	Restore  restoreCommand   `cmd:"" group:"operate" help:"Bring an installation back from a backup, with its keys set aside."`
	Database databaseCommands `cmd:"" group:"operate" help:"Prepare a PostgreSQL database."`

	KeyManager keyManagerCommands `cmd:"" group:"operate" help:"Make certificates for the process that leases keys."`

	Job     jobCommands     `cmd:"" group:"operate" help:"Work on the whole record: verify what was signed, stock a database for trials."`
	Bus     busCommands     `cmd:"" group:"operate" help:"Look after records that roles could not use."`
	Cluster clusterCommands `cmd:"" group:"operate" help:"Prepare the topics at Kafka."`
	Feeder  feederCommands  `cmd:"" group:"operate" help:"Mend the queue of what is due."`
	Bench   benchCommands   `cmd:"" group:"operate" help:"Measure the engine, the API and the chain on this machine."`
	Openapi openapiCommand  `cmd:"" group:"about" help:"Print the OpenAPI document of the HTTP API."`
	Version versionCommand  `cmd:"" group:"about" help:"Print the version."`
}

const description = `Aval carries out signed instructions exactly once: it validates, authorises, signs with a custody key, sends, confirms, records and archives.

To see it work, run:

    aval demo

To try it by hand, run this and follow what it prints:

    aval dev

Exit codes: 0 done, 1 refused or failed, 2 wrong usage or configuration, 3 not found, 4 contradicts what is there, 5 not available now: try again.`

func main() { os.Exit(run()) }

// run is main with an exit code. The first interrupt ends the work cleanly, the second one at once.
func run() int {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // memory for a tenth of the processor: most of what a transfer leaves is garbage at once
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		<-signals
		os.Exit(130) // as shells count a program ended by an interrupt
	}()
	return execute(ctx, os.Args[1:], newScreen(os.Stdin, os.Stdout, os.Stderr))
}

// execute runs one command line and gives its exit code.
func execute(ctx context.Context, args []string, s *screen) int {
	var c cli
	parser, err := kong.New(&c, kong.Name("aval"), kong.Description(description), kong.Writers(s.out, s.err), kong.Vars{"profile": defaultProfile},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, WrapUpperBound: 120}),
		kong.ExplicitGroups([]kong.Group{
			{Key: "try", Title: "Try it:"}, {Key: "use", Title: "Send messages:"}, {Key: "operate", Title: "Operate:"}, {Key: "about", Title: "About:"},
			{Key: "connect", Title: "Which Aval to speak to, and as whom:"},
		}),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(s, &c.Connect))
	if err != nil {
		return s.fail(err)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	s.json = wantsJSON(args)
	parsed, err := parser.Parse(args)
	if err != nil {
		return s.fail(wrongUsage(err))
	}
	c.Connect.environment(os.Getenv)
	err = parsed.Run()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = errInterrupted
	}
	return s.fail(err)
}

// wantsJSON looks for --output json before the command line is parsed, so that its own mistakes are told that way too.
func wantsJSON(args []string) bool {
	for i, arg := range args {
		switch arg {
		case "--output=json", "-ojson", "-o=json":
			return true
		case "--output", "-o":
			return i+1 < len(args) && args[i+1] == "json"
		case "--":
			return false
		}
	}
	return false
}

// readInput reads a file, or standard input for "-".
func readInput(path string, in io.Reader) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(in)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, misused("file-unreadable", "%w; give the path of a file that is there, or - for standard input", err)
	}
	return raw, nil
}
