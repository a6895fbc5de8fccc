// Package stage runs Aval as its users do, for tests of the whole: the built program in a process of its own, its HTTP API,
// and beside it a chain that it does not own, which survives whatever happens to the process and so can be asked what really
// took place.
//
// An Installation is a folder with a configuration; Start makes a Process of it, again and again, at the same address. A
// Chain is a development chain behind a Wire, which sees every transaction that is broadcast and can be cut. Both end with
// the test.
package stage

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/avalhq/aval/client"
)

// Main is the TestMain of a package that runs the program: it builds that, which takes some seconds, and says in program where it is.
func Main(m *testing.M, program *string) {
	folder, err := os.MkdirTemp("", "aval-test-")
	if err == nil {
		*program, err = build(context.Background(), folder)
	}
	code := 1
	if err == nil {
		code = m.Run()
	} else {
		fmt.Fprintln(os.Stderr, err)
	}
	_ = os.RemoveAll(folder) // what is left is in the system's folder for what is passing
	os.Exit(code)
}

func build(ctx context.Context, folder string) (string, error) {
	path := filepath.Join(folder, "aval")
	build := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", path, "github.com/avalhq/aval/cmd/aval")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build aval: %w: %s", err, out)
	}
	return path, nil
}

// Installation is a data folder and the configuration that it is served with.
type Installation struct {
	Program string // path of aval
	Folder  string // holds aval.yaml, the key file, and data
	URL     string // of the API, the same at each start
	config  map[string]any
}

// Install writes a configuration: the fields given, over what a test wants of an installation on loopback.
func Install(tb testing.TB, program string, fields map[string]any) *Installation {
	tb.Helper()
	in := &Installation{Program: program, Folder: tb.TempDir()}
	listen := FreeAddress(tb)
	in.URL = "http://" + listen
	in.config = map[string]any{
		"data": in.Data(""), "api": map[string]any{"listen": listen}, "auth": map[string]any{"dev_issuer": true},
		"custody": map[string]any{"key_file": filepath.Join(in.Folder, "aval.kek")},
	}
	for name, value := range fields {
		in.config[name] = value
	}
	in.write(tb)
	return in
}

// Beside is an installation for one more process that shares everything with this one but the address.
func (in *Installation) Beside(tb testing.TB) *Installation {
	tb.Helper()
	return Install(tb, in.Program, withoutAPI(in.config))
}

func withoutAPI(config map[string]any) map[string]any {
	fields := maps.Clone(config)
	delete(fields, "api")
	return fields
}

// Set changes a section of the configuration; the next start reads it.
func (in *Installation) Set(tb testing.TB, section string, value any) {
	tb.Helper()
	in.config[section] = value
	in.write(tb)
}

func (in *Installation) write(tb testing.TB) {
	tb.Helper()
	raw, err := yaml.Marshal(in.config)
	if err == nil {
		err = os.WriteFile(in.file(), raw, 0o600)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

func (in *Installation) file() string { return filepath.Join(in.Folder, "aval.yaml") }

// Data is the path of a file in the data folder.
func (in *Installation) Data(name string) string { return filepath.Join(in.Folder, "data", name) }

// FreeAddress is an address on loopback on which nothing listens. Its port is below those that a system gives to connections, one of
// which could have it by the time that it is listened on.
func FreeAddress(tb testing.TB) string {
	tb.Helper()
	for range 100 {
		above, err := rand.Int(rand.Reader, big.NewInt(12000))
		if err != nil {
			tb.Fatal(err)
		}
		listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+above.Int64()))
		if err == nil {
			defer func() { _ = listener.Close() }()
			return listener.Addr().String()
		}
	}
	tb.Fatal("found no free port from 20000 on")
	return ""
}

// Process is a running aval serve.
type Process struct {
	Ready <-chan struct{} // closed when it serves
	Done  <-chan struct{} // closed when it has ended
	cmd   *exec.Cmd
	log   *tail
	err   error // once Done
}

// Start begins a process; faults is its AVAL_FAULTS, "" for none. Extra arguments go to aval serve.
func (in *Installation) Start(faults string, args ...string) (*Process, error) {
	cmd := exec.Command(in.Program, append([]string{"serve", "--config", in.file(), "--output", "json"}, args...)...)
	return start(cmd, in.Folder, faults)
}

// Run carries out another command of the program with this configuration, such as cluster init, and answers what it says.
func (in *Installation) Run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, in.Program, append(args, "--config", in.file())...)
	cmd.Dir = in.Folder
	said, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("aval %s: %w: %s", strings.Join(args, " "), err, said)
	}
	return string(said), nil
}

func start(cmd *exec.Cmd, folder, faults string) (*Process, error) {
	p := &Process{cmd: cmd, log: &tail{}}
	p.cmd.Dir = folder
	p.cmd.Env = append(p.cmd.Environ(), "AVAL_FAULTS="+faults)
	ready, done := make(chan struct{}), make(chan struct{})
	p.Ready, p.Done, p.cmd.Stderr = ready, done, p.log
	p.cmd.Stdout = &firstWrite{told: ready}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start aval: %w", err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(done)
	}()
	return p, nil
}

// Kill ends it as a crash does (SIGKILL), and waits until it is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may be gone already
	<-p.Done
}

// Stop interrupts it as Ctrl-C does, and answers how it ended.
func (p *Process) Stop() error {
	_ = p.cmd.Process.Signal(os.Interrupt) // it may be gone already
	<-p.Done
	return p.Err()
}

// Terminate ends it as a service manager does (SIGTERM), and answers how it ended.
func (p *Process) Terminate() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may be gone already
	<-p.Done
	return p.Err()
}

// Pause stops it where it is (SIGSTOP).
func (p *Process) Pause() error { return p.cmd.Process.Signal(syscall.SIGSTOP) }

// Stopped says whether it was stopped by SIGSTOP, and has not been continued.
func (p *Process) Stopped() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	_, rest, found := bytes.Cut(stat, []byte(") "))
	return err == nil && found && bytes.HasPrefix(rest, []byte("T"))
}

// Continue lets a stopped one go on.
func (p *Process) Continue() error { return p.cmd.Process.Signal(syscall.SIGCONT) }

// Killed says whether it was ended by SIGKILL. Only once Done.
func (p *Process) Killed() bool {
	var exit *exec.ExitError
	return errors.As(p.err, &exit) && exit.ExitCode() == -1
}

// ExitCode is the program's; -1 when a signal ended it. Only once Done.
func (p *Process) ExitCode() int { return p.cmd.ProcessState.ExitCode() }

// Err is how it ended: nil with exit code 0, otherwise with the end of what it wrote. Only once Done.
func (p *Process) Err() error {
	if p.err == nil {
		return nil
	}
	return fmt.Errorf("aval ended with %w and wrote: %s", p.err, p.log)
}

// Stderr is the end of what it wrote to standard error.
func (p *Process) Stderr() string { return p.log.String() }

// Passed are the fault points that it passed, as it tells when it has stopped and was started with faults.
func (p *Process) Passed() (map[string]bool, error) {
	for _, line := range strings.Split(p.log.String(), "\n") {
		var told struct {
			Msg    string
			Points []string
		}
		if json.Unmarshal([]byte(line), &told) != nil || told.Msg != "fault points passed" {
			continue
		}
		passed := map[string]bool{}
		for _, name := range told.Points {
			passed[name] = true
		}
		return passed, nil
	}
	return nil, fmt.Errorf("aval did not tell which fault points it has passed; it wrote: %s", p.log)
}

// Failure is how the command line tells what is wrong, with --output json.
type Failure struct {
	Code   string
	Detail string
	Status int
}

// Told finds the failure that a program told at its end.
func Told(stderr string) Failure {
	var told struct{ Error Failure }
	for _, line := range strings.Split(stderr, "\n") {
		_ = json.Unmarshal([]byte(line), &told) // lines of the log are others
	}
	return told.Error
}

// Operator is the SDK with the operator's login that aval serve leaves in the data folder.
func (in *Installation) Operator(options ...client.Option) (*client.Client, error) {
	raw, err := os.ReadFile(in.Data("operator.json"))
	if err != nil {
		return nil, fmt.Errorf("find the operator's login: %w", err)
	}
	var profile struct {
		Operator struct{ ID, Secret string }
	}
	if err := json.Unmarshal(raw, &profile); err != nil {
		return nil, fmt.Errorf("read the operator's login: %w", err)
	}
	return client.New(in.URL, append(options, client.WithCredentials(profile.Operator.ID, profile.Operator.Secret))...)
}

// Ask runs a command of the program as the operator, and gives what it prints to standard output. %CONFIG% stands for the
// configuration's file.
func (in *Installation) Ask(ctx context.Context, args ...string) (string, error) {
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "%CONFIG%", in.file())
	}
	cmd := exec.CommandContext(ctx, in.Program, append([]string{"--profile", in.Data("operator.json")}, args...)...)
	cmd.Dir = in.Folder
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("aval %s: %w: %s", strings.Join(args, " "), err, said.Bytes())
	}
	return string(out), err
}

// firstWrite tells when something was written for the first time.
type firstWrite struct {
	once sync.Once
	told chan struct{}
}

// Write takes everything and keeps nothing.
func (f *firstWrite) Write(p []byte) (int, error) {
	f.once.Do(func() { close(f.told) })
	return len(p), nil
}

// tail keeps the end of what is written.
type tail struct {
	mu   sync.Mutex
	kept bytes.Buffer
}

// most is how much a tail keeps.
const most = 256 << 10

// Write keeps the newest.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept.Write(p)
	if over := t.kept.Len() - most; over > 0 {
		t.kept.Next(over)
	}
	return len(p), nil
}

// String is what was kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.kept.String()
}
