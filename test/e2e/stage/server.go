package stage

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Server is a real server (see deploy/services) of a test's own, which may be killed: the ones that make services-up starts are
// used by others.
type Server struct {
	script, folder, name string
	settings             []string
}

// NewServer starts one, "postgres", "etcd" or "kafka", on data of its own, both of which end with the test. Settings are variables
// that its script knows, as NAME=value.
func NewServer(tb testing.TB, name string, settings ...string) *Server {
	tb.Helper()
	root, err := moduleRoot()
	if err != nil {
		tb.Fatal(err)
	}
	s := &Server{script: filepath.Join(root, "deploy", "services", name+".sh"), folder: tb.TempDir(), name: name, settings: settings}
	tb.Cleanup(func() {
		if err := s.Act("wipe"); err != nil {
			tb.Error(err)
		}
	})
	if err := s.Act("up"); err != nil {
		tb.Fatal(err)
	}
	return s
}

// Act does something to the server: "kill" ends it as a crash does, "start" starts it again on its data.
func (s *Server) Act(what string) error {
	cmd := exec.Command(s.script, what)
	cmd.Env = append(append(cmd.Environ(), "SERVICES="+s.folder), s.settings...)
	// Not a pipe: the server inherits the script's outputs, and would keep it open.
	log, err := os.CreateTemp(s.folder, "log")
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(log.Name())
		return fmt.Errorf("%s.sh %s: %w: %s", s.name, what, err, said)
	}
	return nil
}

// URL is the address of the running server, with its administrator.
func (s *Server) URL(tb testing.TB) string {
	tb.Helper()
	return s.Note(tb, "url")
}

// Note is what the server's script has written down under a name.
func (s *Server) Note(tb testing.TB, name string) string {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join(s.folder, s.name, name))
	if err != nil {
		tb.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// Shared is the address of a server that others use as well: the given one, or the one that make services-up has left in .services.
// Variable is what the given one would be in.
func Shared(tb testing.TB, name, given, variable string) string {
	tb.Helper()
	if given != "" {
		return given
	}
	root, err := moduleRoot()
	text, missing := os.ReadFile(filepath.Join(root, ".services", name, "url"))
	if err = errors.Join(err, missing); err != nil {
		tb.Fatalf("no server of %s (%v): run make services-up, or set %s to its address", name, err, variable)
	}
	return strings.TrimSpace(string(text))
}

// NewKafka starts a broker that is reached by a way which can be cut: it tells its clients that way as its own address.
func NewKafka(tb testing.TB) (*Server, *Proxy) {
	tb.Helper()
	at := FreeAddress(tb)
	way := NewProxy(tb, at)
	_, port, err := net.SplitHostPort(at)
	if err != nil {
		tb.Fatal(err)
	}
	return NewServer(tb, "kafka", "KAFKA_PORT="+port, "KAFKA_ADVERTISED="+way.Address), way
}

// moduleRoot is the folder with go.mod, at or above the one in which the test runs.
func moduleRoot() (string, error) {
	folder, err := os.Getwd()
	for err == nil && folder != "/" {
		if _, missing := os.Stat(filepath.Join(folder, "go.mod")); missing == nil {
			return folder, nil
		}
		folder = filepath.Dir(folder)
	}
	return "", fmt.Errorf("no go.mod at or above the working folder: %w", err)
}
