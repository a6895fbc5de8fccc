package signer_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/message"
)

// The flags make the test's own program the process that is killed.
var (
	crashFolder = flag.String("crash.folder", "", "sign the messages read from standard input with the keys in this folder")
	crashFaults = flag.String("crash.faults", "", "where to be killed: point=kill@n")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if *crashFolder == "" {
		os.Exit(m.Run())
	}
	if err := signInput(context.Background(), *crashFolder, *crashFaults); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// signInput is what a signing process does: recover, then sign batch by batch. It prints each answer as soon as it has it:
// from there on the transaction may be on its way to a chain.
func signInput(ctx context.Context, folder, spec string) error {
	faults, err := fault.Parse(spec)
	if err != nil {
		return err
	}
	r := &room{folder: folder, faults: faults, chain: map[string]uint64{}, close: func() {}}
	if err := r.open(ctx, "signer/1"); err != nil {
		return err
	}
	defer r.close()
	if err := r.signer.Recover(ctx, "signer"); err != nil {
		return err
	}
	keys, err := r.registry.List(ctx)
	if err != nil {
		return err
	}
	var batch []signer.Request
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		step := signer.Step{Message: message.ID(in.Text()), State: "Sign"}
		if batch = append(batch, signer.Request{Step: step, Tx: transfer(keys[0], 1)}); len(batch) < 3 {
			continue
		}
		decisions, errs := r.signer.Sign(ctx, keys[0].ID, batch)
		if err := errors.Join(errs...); err != nil {
			return err
		}
		for _, d := range decisions {
			fmt.Println(d.Step.Message, d.Nonce, d.Signed.Hash)
		}
		batch = nil
	}
	return in.Err()
}

// TestKilledAnywhere kills a signing process at every named point, each time a little later, and lets the next one resume.
// Whatever was ever answered for a message has one hash and one nonce; in the end the nonces have no gap (I6, I7, I13).
func TestKilledAnywhere(t *testing.T) {
	points := []string{"keys.quarantine", "keys.lease", "keys.reconcile", "decisions.decide", "signer.sign", "decisions.store", "keys.release"}
	r := newRoom(t)
	k := r.key(t)
	r.close()
	r.close = func() {}
	answers, killed := map[string]string{}, 0
	var ids []string
	for n, point := range points {
		for _, side := range []string{".before", ".after"} {
			for range 6 {
				ids = append(ids, string(message.NewID()))
			}
			if resume(t, r.folder, fmt.Sprintf("%s%s=kill@%d", point, side, 1+n%2), ids, answers) {
				killed++
			}
		}
	}
	if resume(t, r.folder, "nowhere=kill", ids, answers) || killed != 2*len(points) {
		t.Errorf("%d of %d processes were killed", killed, 2*len(points))
	}
	r.start(t, "signer")
	check(t, r, k, ids, answers)
}

// resume runs a process over the messages, collects what it answers, and says whether it was killed.
func resume(t *testing.T, folder, spec string, ids []string, answers map[string]string) (killed bool) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0], "-crash.folder="+folder, "-crash.faults="+spec)
	child.Stdin = strings.NewReader(strings.Join(ids, "\n"))
	var failure strings.Builder
	child.Stderr = &failure
	out, err := child.Output()
	for line := range strings.Lines(string(out)) {
		id, answer, _ := strings.Cut(strings.TrimSpace(line), " ")
		if before, known := answers[id]; known && before != answer {
			t.Errorf("%s: %s was answered %s, before %s", spec, id, answer, before)
		}
		answers[id] = answer
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signal() == syscall.SIGKILL {
			return true
		}
	}
	if err != nil {
		t.Fatalf("%s: %v: %s", spec, err, failure.String())
	}
	return false
}

func check(t *testing.T, r *room, k key.Key, ids []string, answers map[string]string) {
	t.Helper()
	nonces := map[uint64]bool{}
	for _, id := range ids {
		d, err := r.decisions.Find(t.Context(), []signer.Step{{Message: message.ID(id), State: "Sign"}})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range d {
			tx := decode(t, d)
			nonces[tx.Nonce()] = true
			if answers[id] != fmt.Sprint(tx.Nonce(), " ", tx.Hash().Hex()) {
				t.Errorf("%s was answered %q, stored is %d %s", id, answers[id], tx.Nonce(), tx.Hash().Hex())
			}
		}
	}
	for nonce := range uint64(len(ids)) {
		if !nonces[nonce] {
			t.Errorf("nobody has nonce %d of %d", nonce, len(ids))
		}
	}
	if left, err := r.decisions.Unsigned(t.Context(), k.ID); err != nil || len(left) != 0 {
		t.Errorf("left unsigned: %v, %v", left, err)
	}
}
