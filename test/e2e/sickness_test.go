package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/test/e2e/stage"
)

// dies waits for the end of a process that cannot go on, which has to say so in a sentence.
func dies(t *testing.T, p *stage.Process, exit int, codes ...string) stage.Failure {
	t.Helper()
	select {
	case <-p.Done:
	case <-time.After(patience):
		p.Kill()
		t.Fatalf("aval goes on: %s", p.Stderr())
	}
	told := stage.Told(p.Stderr())
	known := false
	for _, code := range codes {
		known = known || told.Code == code
	}
	if p.ExitCode() != exit || !known || len(told.Detail) < 20 {
		t.Errorf("aval ended with code %d and %+v, want %d and %v; it wrote: %s", p.ExitCode(), told, exit, codes, p.Stderr())
	}
	for _, trace := range []string{"goroutine ", "panic:", ".go:", canary} {
		if strings.Contains(p.Stderr(), trace) {
			t.Errorf("aval wrote %q: %s", trace, p.Stderr())
		}
	}
	return told
}

// startBad begins a process that has to fail.
func (s *scene) startBad() *stage.Process {
	s.t.Helper()
	p, err := s.in.Start("")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(p.Kill)
	return p
}

func (s *scene) stop() {
	s.t.Helper()
	if err := s.process.Stop(); err != nil {
		s.t.Fatal(err)
	}
}

func TestStartRefusals(t *testing.T) {
	s := open(t, nil)
	s.stop()
	chain := map[string]any{"url": s.chain.Wire.URL, "id": s.chain.ChainID()}

	listener, err := net.Listen("tcp", strings.TrimPrefix(s.in.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	dies(t, s.startBad(), 4, "port-in-use")
	_ = listener.Close()

	s.in.Set(t, "chain", map[string]any{"url": s.chain.Wire.URL, "id": 5})
	dies(t, s.startBad(), 4, "chain-changed")
	s.in.Set(t, "chain", map[string]any{"url": s.chain.Wire.URL + "/" + canary, "id": s.chain.ChainID()})
	s.chain.Wire.Cut(true)
	dies(t, s.startBad(), 5, "chain-unreachable")
	s.chain.Wire.Cut(false)
	for _, mistake := range []map[string]any{
		{"fees": map[string]any{"types": map[string]any{"tranfser.v1": map[string]any{"percentile": 90}}}},
		{"fees": map[string]any{"default": map[string]any{"budget": "much"}}},
		{"abis": s.in.Folder + "/nowhere"},
	} {
		maps.Copy(mistake, chain)
		s.in.Set(t, "chain", mistake)
		dies(t, s.startBad(), 2, "config-invalid")
	}
	s.in.Set(t, "chain", chain)

	s.in.Set(t, "custody", map[string]any{"key_file": s.in.Folder + "/another.kek"})
	dies(t, s.startBad(), 2, "keystore-locked")
	if err := os.WriteFile(s.in.Folder+"/passphrase", []byte(canary), 0o600); err != nil {
		t.Fatal(err)
	}
	s.in.Set(t, "custody", map[string]any{"key_file": "", "passphrase": "file:" + s.in.Folder + "/passphrase"})
	dies(t, s.startBad(), 2, "keystore-locked")
	s.in.Set(t, "custody", map[string]any{"key_file": s.in.Folder + "/aval.kek"})

	s.serve() // and nothing was harmed by all that
	s.ends(s.transfer(payee, "native", "3").ID, client.Succeeded)
}

// A chain that takes the place of the one that Aval knew is noticed while it runs, before anything is signed for it.
func TestForeignChainAtTheSameAddress(t *testing.T) {
	s := open(t, nil)
	s.chain.Wire.Cut(true)
	sent := s.transfer(payee, "native", "4")
	s.until(sent.ID, "waiting", func(r client.Record) bool { return r.Status == client.Waiting })
	foreign := stage.NewForeignChain(t, t.TempDir(), 999)
	s.chain.Wire.Lead(foreign.URL())
	s.chain.Wire.Cut(false)
	rec := s.until(sent.ID, "held", func(r client.Record) bool { return r.Status == client.Parked })
	if !strings.Contains(rec.Reason, "chain-mismatch") || len(s.chain.Wire.Broadcasts()) != 0 {
		t.Errorf("it is held as %+v, and %d transactions were broadcast", rec, len(s.chain.Wire.Broadcasts()))
	}
	s.chain.Wire.Lead(s.chain.URL())
	if _, err := s.operator.Resume(t.Context(), sent.ID); err != nil {
		t.Fatal(err)
	}
	s.ends(sent.ID, client.Succeeded)
}

// Bits that have turned in the database are said, not served: the page is checked, or the file is no database any more.
func TestCorruptDataFile(t *testing.T) {
	s := open(t, nil)
	s.stop()
	path := s.in.Data("aval.db")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, damaged := range map[string][]byte{
		"another file":   []byte(strings.Repeat("not a database ", 1000)),
		"half the file":  whole[:len(whole)/2],
		"pages of noise": append(bytes.Clone(whole[:100]), bytes.Repeat([]byte{0xa5}, len(whole)-100)...),
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			told := dies(t, s.startBad(), 1, "storage-corrupt")
			if !strings.Contains(told.Detail, "aval.db") || !strings.Contains(told.Detail, "backup") {
				t.Errorf("it does not say which file, or what to do: %s", told.Detail)
			}
		})
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	s.serve()
	s.ends(s.transfer(payee, "native", "3").ID, client.Succeeded)
}

// A disk that takes nothing from the start on (what is written ahead goes to /dev/full): it is said, and nothing is harmed.
func TestDiskFullAtStart(t *testing.T) {
	s := open(t, nil)
	sent := s.transfer(payee, "native", "3")
	s.ends(sent.ID, client.Succeeded)
	s.stop()
	ahead := s.in.Data("aval.db-wal")
	if err := os.Symlink("/dev/full", ahead); err != nil {
		t.Fatal(err)
	}
	told := dies(t, s.startBad(), 5, "storage-full", "storage-unwritable")
	if !strings.Contains(told.Detail, "aval.db") {
		t.Errorf("it does not say which file: %s", told.Detail)
	}
	if err := os.Remove(ahead); err != nil {
		t.Fatal(err)
	}
	s.serve()
	s.ends(sent.ID, client.Succeeded)
}

// shrink puts the data folder on a disk of a few megabytes. Only who may mount can have one.
func (s *scene) shrink(megabytes int) (done bool) {
	s.t.Helper()
	data := s.in.Data("")
	run := func(name string, args ...string) error {
		out, err := exec.CommandContext(s.t.Context(), name, args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", name, err, out)
		}
		return nil
	}
	if err := errors.Join(os.Rename(data, data+".whole"), os.Mkdir(data, 0o700)); err != nil {
		s.t.Fatal(err)
	}
	if err := run("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%dm", megabytes), "tmpfs", data); err != nil {
		s.t.Logf("no small disk can be mounted here, so the data folder stays on the large one: %v", err)
		return false
	}
	s.t.Cleanup(func() {
		s.process.Kill()
		if out, err := exec.Command("umount", data).CombinedOutput(); err != nil {
			s.t.Errorf("unmount: %v: %s", err, out)
		}
	})
	if err := run("cp", "-a", data+".whole/.", data); err != nil {
		s.t.Fatal(err)
	}
	return true
}

// TestDiskFull fills the disk under the running process: what it cannot store it does not accept (I1, I24), and it says so.
// With room again it goes on by itself, and everything that was accepted is there and ends.
func TestDiskFull(t *testing.T) {
	s := open(t, nil)
	s.stop()
	if !s.shrink(16) {
		return
	}
	s.serve()
	filler, err := os.Create(s.in.Data("filler"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = filler.Write(make([]byte, 4096))
	}
	_ = filler.Close() // there is no room for anything
	accepted := map[string][]byte{}
	last := s.submitUntilFull(accepted)
	refused(t, last, 503, "storage-full")
	if err := os.Remove(s.in.Data("filler")); err != nil {
		t.Fatal(err)
	}
	sent := s.transfer(payee, "native", "8")
	s.ends(sent.ID, client.Succeeded)
	for id, signed := range accepted {
		s.ends(id, client.Succeeded)
		if original, err := s.alice.Original(t.Context(), id); err != nil || !bytes.Equal(original, signed) {
			t.Fatalf("%s was accepted, and its original is %q, %v", id, original, err)
		}
	}
}

// submitUntilFull submits notes until something is refused, and gives the refusal.
func (s *scene) submitUntilFull(accepted map[string][]byte) stage.Answer {
	s.t.Helper()
	for n := range 5000 {
		answer := s.alice.Do(s.t, "POST", "/v1/message-ids", "", []byte(`{"count":1}`))
		if answer.Status != 201 {
			return answer
		}
		var ids client.IDs
		if err := json.Unmarshal(answer.Body, &ids); err != nil {
			s.t.Fatal(err)
		}
		m := client.Message{
			ID: ids.IDs[0].ID, Expires: ids.IDs[0].Expires, Client: ids.Client, Chain: ids.Domains[0].Chain, Type: "note.v1",
			Body: map[string]string{"text": fmt.Sprint(n, strings.Repeat(" of a long text", 100))},
		}
		signed := s.sign(s.alice, m, ids)
		if answer = s.put(s.alice, m.ID, signed); answer.Status != 201 {
			return answer
		}
		accepted[m.ID] = signed
	}
	s.t.Fatal("the disk was never full")
	return stage.Answer{}
}
