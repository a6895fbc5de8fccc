//go:build cluster

package etcd_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/backend/etcd"
	"github.com/avalhq/aval/internal/backend/postgres"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/problem"
)

// asProcess is set for the test program when it is to be another process, with the place of the registry in JSON.
const asProcess = "AVAL_TEST_ETCD_PROCESS"

type place struct {
	Endpoints []string
	Prefix    string
	Database  string // "" where nothing is decided
}

func TestMain(m *testing.M) {
	if where := os.Getenv(asProcess); where != "" {
		if err := lessee(where, os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	database.Main(m)
}

// lessee is the other process: it leases the key that each line names, and tells the fence, or releases its last lease for an
// empty line, and tells the code of the refusal. For "decide" it decides one transaction under its last lease: it tells when it has
// asked the registry, goes on at the next line, and tells the nonce.
func lessee(where string, in io.Reader, out io.Writer) error {
	var at place
	if err := json.Unmarshal([]byte(where), &at); err != nil {
		return err
	}
	ctx := context.Background()
	k, err := etcd.Open(ctx, etcd.Options{Endpoints: at.Endpoints, Prefix: at.Prefix, Name: "other", Session: 4 * time.Second})
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	asked := asking{k, func() {
		_, _ = fmt.Fprintln(out, "asked") // who waits for it notices
		lines.Scan()
	}}
	db, err := at.open(ctx)
	if err != nil {
		return err
	}
	var last key.Lease
	for lines.Scan() {
		if lines.Text() == "decide" {
			if nonce, refused := decideUnder(ctx, postgres.NewDecisionsUnder(db, asked), last); refused == nil {
				_, err = fmt.Fprintln(out, nonce)
			} else {
				_, err = fmt.Fprintln(out, codeOf(refused))
			}
		} else if lines.Text() == "" {
			_, err = fmt.Fprintln(out, codeOf(k.Release(ctx, last)))
		} else if last, err = k.Lease(ctx, key.Request{Holder: k.Process() + "/sign", Key: lines.Text(), TTL: time.Hour}); err == nil {
			_, err = fmt.Fprintln(out, last.Fence)
		} else {
			_, err = fmt.Fprintln(out, codeOf(err))
		}
		if err != nil {
			return err
		}
	}
	return k.Close()
}

func (at place) open(ctx context.Context) (*postgres.DB, error) {
	if at.Database == "" {
		return nil, nil
	}
	return postgres.Open(ctx, at.Database, postgres.Options{Name: "other"})
}

// asking is a registry that tells when it has answered.
type asking struct {
	*etcd.Keys
	answered func()
}

func (a asking) Get(ctx context.Context, id string) (key.Key, error) {
	k, err := a.Keys.Get(ctx, id)
	a.answered()
	return k, err
}

func codeOf(err error) string {
	if err == nil {
		return "done"
	}
	return problem.From(err).Code
}

// other is a process of its own.
type other struct {
	t       *testing.T
	command *exec.Cmd
	in      io.Writer
	out     *bufio.Scanner
}

// start runs this test program as another process; its session lasts for four seconds.
func (s *storage) start(t *testing.T) *other { return s.startOn(t, "") }

func (s *storage) startOn(t *testing.T, database string) *other {
	t.Helper()
	where, err := json.Marshal(place{s.options.Endpoints, s.options.Prefix, database})
	if err != nil {
		t.Fatal(err)
	}
	o := &other{t: t, command: exec.Command(os.Args[0])}
	o.command.Env = append(os.Environ(), asProcess+"="+string(where))
	o.command.Stderr = os.Stderr
	if o.in, err = o.command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := o.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	o.out = bufio.NewScanner(out)
	if err := o.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = o.command.Process.Kill()
		_ = o.command.Wait()
	})
	return o
}

// ask has it lease a key, or release the last lease for "".
func (o *other) ask(id string) string {
	o.t.Helper()
	if _, err := fmt.Fprintln(o.in, id); err != nil {
		o.t.Fatal(err)
	}
	if !o.out.Scan() {
		o.t.Fatalf("the other process ended: %v", o.out.Err())
	}
	return o.out.Text()
}

func (o *other) signal(s syscall.Signal) {
	o.t.Helper()
	if err := o.command.Process.Signal(s); err != nil {
		o.t.Fatal(err)
	}
}

// holderLost gives a key that another process has leased, which then got the signal, once it is set aside.
func holderLost(t *testing.T, by syscall.Signal) (k *etcd.Keys, id string, o *other) {
	t.Helper()
	s := newStorage(t)
	k = s.open(t)
	id = addKeys(t, k, 1)[0]
	o = s.start(t)
	if got := o.ask(id); got != "1" {
		t.Fatalf("the other process got %s, want the fence 1", got)
	}
	o.signal(by)
	if _, err := k.Lease(within(t, time.Minute), named(k, id)); !errors.Is(err, key.ErrQuarantined) {
		t.Fatalf("the key of a process after %v: %v, want key-quarantined", by, err)
	}
	return k, id, o
}

// TestI10AProcessIsKilled: SIGKILL while it holds a key. Who waits for the key learns within seconds that it is set aside.
func TestI10AProcessIsKilled(t *testing.T) {
	k, id, _ := holderLost(t, syscall.SIGKILL)
	if got, err := k.Get(t.Context(), id); err != nil || got.Holder == "" || got.Fence != 1 {
		t.Errorf("set aside as %+v, %v", got, err)
	}
}

// TestI8AStoppedProcessHasLostItsLease: SIGSTOP for longer than its session, then on. Its late release changes nothing, and it
// gets a new lease as a new instance, under a higher fence.
func TestI8AStoppedProcessHasLostItsLease(t *testing.T) {
	k, id, o := holderLost(t, syscall.SIGSTOP)
	if err := k.Reconcile(t.Context(), id, 0); err != nil {
		t.Fatal(err)
	}
	mine := leased(t, k, named(k, id))
	o.signal(syscall.SIGCONT)
	if got := o.ask(""); got != key.ErrStale.Code {
		t.Errorf("the late release: %s, want %s", got, key.ErrStale.Code)
	}
	if err := k.Release(t.Context(), mine); err != nil {
		t.Errorf("the lease after the stopped one was lost: %v", err)
	}
	if got := o.ask(id); got != "3" {
		t.Errorf("the continued process got %s, want the fence 3", got)
	}
	if got := o.ask(""); got != "done" {
		t.Errorf("its release: %s", got)
	}
}
