package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/term"

	"github.com/avalhq/aval/internal/config"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/telemetry"
)

// settings are the flags of a platform: a configuration file, and what overrides it.
type settings struct {
	Data        string   `help:"Folder for everything that is stored. Without it: the configuration's, aval-data." placeholder:"DIR"`
	Listen      string   `help:"Where the API listens. Without it: the configuration's, 127.0.0.1:8080. Port 0 takes a free one." placeholder:"HOST:PORT"`
	ChainListen string   `help:"Where the development chain's JSON-RPC listens, on loopback. Without it: 127.0.0.1:8545." placeholder:"HOST:PORT"`
	Set         []string `sep:"none" help:"Set one field of the configuration, such as --set chain.confirmations=5. May be repeated." placeholder:"FIELD=VALUE"`
	Verbose     bool     `short:"v" help:"Log what happens, not only what is wrong."`
}

// served is what a file is read over: the development issuer is on only where the file says so.
func served() config.Config {
	c := config.Default()
	c.Auth.DevIssuer = false
	return c
}

// read gives the configuration that aval serve takes from a file, and checks it: every command that is given a file takes it alike.
func (f settings) read(file string) (config.Config, error) {
	c, err := f.load(file)
	if err != nil {
		return c, err
	}
	return c, c.Validate()
}

// load is read without the check. Without a file it is the configuration of aval dev's data folder.
func (f settings) load(file string) (config.Config, error) {
	c, err := f.over(served(), file)
	if err != nil {
		return c, err
	}
	overridePassphrase(&c)
	if file == "" {
		beside(&c)
	}
	return c, nil
}

// over reads the file over c, and applies the flags.
func (f settings) over(c config.Config, file string) (config.Config, error) {
	if file != "" {
		raw, err := os.ReadFile(file)
		if err != nil {
			return c, misused("config-unreadable", "cannot read the configuration: %w; aval config prints an example", err)
		}
		if c, err = config.Parse(c, file, raw); err != nil {
			return c, err
		}
	}
	for _, pair := range f.Set {
		field, value, ok := strings.Cut(pair, "=")
		if !ok {
			return c, misused("flag-invalid", "--set takes FIELD=VALUE, not %q", pair)
		}
		if err := c.Set(field, value); err != nil {
			return c, err
		}
	}
	return c, f.override(&c)
}

func (f settings) override(c *config.Config) error {
	if f.Data != "" {
		c.Data = f.Data
	}
	if f.Listen != "" {
		c.API.Listen = f.Listen
	}
	if f.ChainListen != "" {
		host, port, err := net.SplitHostPort(f.ChainListen)
		number, wrong := strconv.Atoi(port)
		if ip := net.ParseIP(host); err != nil || wrong != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return misused("flag-invalid", "--chain-listen takes a port on loopback, such as 127.0.0.1:8545, not %q: the development chain is for this machine alone", f.ChainListen)
		}
		c.Chain.Dev.Port = number
	}
	if f.Verbose {
		c.Telemetry.LogLevel = "info"
	}
	return nil
}

// passphrase overrides the configuration's key file or prompt by a passphrase in the environment.
func overridePassphrase(c *config.Config) {
	if _, set := os.LookupEnv("AVAL_PASSPHRASE"); set && (c.Custody.Passphrase == "" || c.Custody.Passphrase == "prompt") {
		c.Custody = config.Custody{Passphrase: "env:AVAL_PASSPHRASE"} //nolint:gosec // says where the passphrase is
	}
}

// readPassphrase gets the passphrase from where the configuration says; none when keys are sealed by a key file.
func readPassphrase(c config.Custody, s *screen) ([]byte, error) {
	kind, where := c.Source()
	switch kind {
	case "prompt":
		_, _ = fmt.Fprint(s.err, "Passphrase of the signing keys: ")
		passphrase, err := term.ReadPassword(int(os.Stdin.Fd()))
		s.note("")
		if err != nil {
			return nil, misused("passphrase-missing", "there is no terminal to ask for the passphrase on; set custody.passphrase to file:PATH or env:NAME, or the variable AVAL_PASSPHRASE")
		}
		return passphrase, nil
	case "file":
		line, err := firstLine(where)
		if err != nil {
			return nil, misused("passphrase-missing", "cannot read the passphrase: %w; check custody.passphrase", err)
		}
		return line, nil
	case "env":
		value, set := os.LookupEnv(where)
		if !set {
			return nil, misused("passphrase-missing", "the environment variable %s, from which custody.passphrase takes the passphrase, is not set", where)
		}
		return []byte(value), nil
	}
	return nil, nil
}

// firstLine reads a file's first line.
func firstLine(path string) ([]byte, error) {
	raw, err := os.ReadFile(path)
	line, _, _ := bytes.Cut(raw, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), err
}

// prepare checks a configuration and makes the options of its platform.
func prepare(c config.Config, s *screen) (o options, err error) {
	if err := c.Validate(); err != nil {
		return o, err
	}
	level, err := telemetry.Level(c.Telemetry.LogLevel)
	if err != nil {
		return o, err
	}
	o.log = telemetry.NewLogger(s.err, level)
	if spec := os.Getenv("AVAL_FAULTS"); spec != "" { // for crash tests
		if o.faults, err = fault.Parse(spec); err != nil {
			return o, misused("faults-malformed", "AVAL_FAULTS: %w", err)
		}
	}
	o.passphrase, err = readPassphrase(c.Custody, s)
	return o, err
}

// beside puts the key file that nobody has chosen beside the data folder, so that whoever copies the folder has not copied
// the keys, and two commands with the same --data find the same one wherever they are started.
func beside(c *config.Config) {
	if c.Custody.KeyFile == config.Default().Custody.KeyFile {
		c.Custody.KeyFile = filepath.Join(filepath.Dir(filepath.Clean(c.Data)), c.Custody.KeyFile)
	}
}
