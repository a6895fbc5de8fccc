package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the test program be aval itself, so that scripts run the real command line in a process of its own.
func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"aval": main}) }

// TestScripts runs the whole-program tests in test/script. Besides what testscript has, a script can say
//
//	exits CODE ARGS…     run aval with ARGS, which has to end with this exit code
//	dev ARGS…            start aval dev on free ports and wait until it is ready and its wallet has coin; sets URL, LISTEN,
//	                     RPC, WALLET and ADDRESS
//	serve ARGS…          start aval serve on free ports and wait until it is ready
//	quit                 interrupt it; it has to end well
//	crash                kill it
//	json PATH VALUE      the last output is JSON, and has this value at PATH (a.b.0.c)
//	jsonenv NAME PATH    set a variable to the value at PATH
//	newer FILE           let a SQLite file be one of level 99, as a newer program would leave it
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "../../test/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "dev": startDev, "serve": startServe, "quit": quitDev, "crash": crashDev, "json": jsonIs, "jsonenv": jsonEnv,
			"newer": newerFile,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: exits CODE ARGS…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec("aval", args[1:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("it ended with exit code %d, not %d", got, want)
	}
}

// devProcess is an aval dev in the background.
type devProcess struct {
	command *exec.Cmd
	stderr  *bytes.Buffer
	ended   chan struct{}
	err     error
}

// processes keeps the processes of scripts, which run side by side.
var processes = struct {
	sync.Mutex
	of map[*testscript.TestScript]*devProcess
}{of: map[*testscript.TestScript]*devProcess{}}

func startDev(ts *testscript.TestScript, neg bool, args []string) {
	start(ts, append([]string{"dev"}, args...), "ready", "funded")
}

func startServe(ts *testscript.TestScript, neg bool, args []string) {
	start(ts, append([]string{"serve"}, args...), "ready")
}

// start runs a platform in the background and waits until it has told of the events.
func start(ts *testscript.TestScript, args []string, events ...string) {
	aval, err := exec.LookPath("aval")
	ts.Check(err)
	p := &devProcess{stderr: &bytes.Buffer{}, ended: make(chan struct{})}
	p.command = exec.Command(aval, append(args, "--listen", "127.0.0.1:0", "--chain-listen", "127.0.0.1:0", "--output", "json")...)
	p.command.Dir, p.command.Env, p.command.Stderr = ts.Getenv("WORK"), environ(ts), p.stderr
	out, err := p.command.StdoutPipe()
	ts.Check(err)
	ts.Check(p.command.Start())
	lines := bufio.NewScanner(out)
	for _, event := range events {
		var told map[string]any
		if !lines.Scan() || json.Unmarshal(lines.Bytes(), &told) != nil || told["event"] != event {
			_ = p.command.Process.Kill()
			_ = p.command.Wait()
			ts.Fatalf("aval %s did not become %s: %q, %s", args[0], event, lines.Text(), p.stderr)
		}
		for name, field := range map[string]string{"URL": "url", "RPC": "rpc", "WALLET": "wallet", "ADDRESS": "address"} {
			if value, ok := told[field].(string); ok {
				ts.Setenv(name, value)
			}
		}
	}
	ts.Setenv("LISTEN", strings.TrimPrefix(ts.Getenv("URL"), "http://"))
	go func() {
		for lines.Scan() { // nothing more is expected; the pipe is emptied
		}
		p.err = p.command.Wait()
		close(p.ended)
	}()
	processes.Lock()
	defer processes.Unlock()
	processes.of[ts] = p
	ts.Defer(func() {
		_ = p.command.Process.Kill()
		<-p.ended
	})
}

// newerFile writes the level where the file's header has it: https://www.sqlite.org/fileformat2.html, user version.
func newerFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: newer FILE")
	}
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_WRONLY, 0)
	ts.Check(err)
	_, err = f.WriteAt([]byte{0, 0, 0, 99}, 60)
	ts.Check(errors.Join(err, f.Close()))
}

// environ is the script's environment.
func environ(ts *testscript.TestScript) []string {
	var all []string
	for _, name := range []string{"HOME", "PATH", "TMPDIR", "WORK", "AVAL_PASSPHRASE", "AVAL_FAULTS", "DBPASSWORD"} {
		if value := ts.Getenv(name); value != "" {
			all = append(all, name+"="+value)
		}
	}
	return all
}

func processOf(ts *testscript.TestScript) *devProcess {
	processes.Lock()
	defer processes.Unlock()
	p := processes.of[ts]
	if p == nil {
		ts.Fatalf("no aval dev was started")
	}
	return p
}

func quitDev(ts *testscript.TestScript, neg bool, args []string) {
	p := processOf(ts)
	ts.Check(p.command.Process.Signal(os.Interrupt))
	select {
	case <-p.ended:
	case <-time.After(time.Minute):
		ts.Fatalf("aval dev did not stop")
	}
	if p.err != nil || !strings.Contains(p.stderr.String(), "Stopping") {
		ts.Fatalf("aval dev did not end well: %v, %s", p.err, p.stderr)
	}
}

func crashDev(ts *testscript.TestScript, neg bool, args []string) {
	p := processOf(ts)
	ts.Check(p.command.Process.Kill())
	<-p.ended
}

func jsonIs(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: json PATH VALUE")
	}
	if got := at(ts, args[0]); (got == args[1]) == neg {
		ts.Fatalf("%s is %q, and should be %q: %t", args[0], got, args[1], !neg)
	}
}

func jsonEnv(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: jsonenv NAME PATH")
	}
	value := at(ts, args[1])
	if value == "" {
		ts.Fatalf("there is nothing at %s", args[1])
	}
	ts.Setenv(args[0], value)
}

// at is the value at a path of the last command's output, of its standard error when it wrote nothing else.
func at(ts *testscript.TestScript, path string) string {
	text := ts.ReadFile("stdout")
	if strings.TrimSpace(text) == "" {
		text = ts.ReadFile("stderr")
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var v any
	ts.Check(decoder.Decode(&v))
	for _, name := range strings.Split(path, ".") {
		switch in := v.(type) {
		case map[string]any:
			v = in[name]
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i >= len(in) {
				return ""
			}
			v = in[i]
		default:
			return ""
		}
	}
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}
