package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/avalhq/aval/internal/custody/papers"
)

// keyManagerCommands are about the process that leases keys.
type keyManagerCommands struct {
	Certificates keyManagerCertificates `cmd:"" help:"Make an authority and certificates of it, to try out the key-manager."`
}

type keyManagerCertificates struct {
	Folder string   `default:"aval-certificates" help:"Where to: the authority is made there once, and used again for more names." placeholder:"DIR"`
	Host   []string `default:"127.0.0.1,localhost" help:"Names and addresses at which workers reach the key-manager." placeholder:"HOST"`
	Worker []string `arg:"" optional:"" help:"Names of workers; aval without any."`
}

// Help is shown by aval key-manager certificates --help.
func (keyManagerCertificates) Help() string {
	return `Writes ca.pem and ca.key, key-manager.pem and key-manager.key, and the like for each worker, good for a year. What is there already is left alone.

They are for trying things out: who can read the folder can hold keys as anybody. In production let the authority that you have anyway sign for a worker's name (as DNS name), and for the key-manager's host.

    aval key-manager certificates --folder certs signing-worker-1 signing-worker-2

    key_manager:                      # in the worker's file; the key-manager's has listen, and its own cert and key
      address: 127.0.0.1:8443
      tls: {ca: certs/ca.pem, cert: certs/signing-worker-1.pem, key: certs/signing-worker-1.key}`
}

// Run is the command.
func (c *keyManagerCertificates) Run(s *screen) error {
	if err := os.MkdirAll(c.Folder, 0o700); err != nil {
		return misused("certificates-unwritable", "cannot make the folder: %w", err)
	}
	set, err := c.authority()
	if err != nil {
		return err
	}
	if len(c.Worker) == 0 {
		c.Worker = []string{program}
	}
	made := []string{}
	for _, name := range append([]string{"key-manager"}, c.Worker...) {
		names := []string{name}
		if name == "key-manager" {
			names = append(names, c.Host...)
		}
		if there, err := exists(c.path(name + ".pem")); err != nil || there {
			if err != nil {
				return err
			}
			continue
		}
		certificate, secret, err := set.Issue(names...)
		if err != nil {
			return err
		}
		if err := c.write(name, certificate, secret); err != nil {
			return err
		}
		made = append(made, name)
	}
	s.answer(map[string]any{"folder": c.Folder, "made": made}, func() {
		s.say("In %s: certificates of %d processes, and ca.pem, which all of them believe.", c.Folder, len(made))
	})
	return nil
}

func (c *keyManagerCertificates) path(name string) string { return filepath.Join(c.Folder, name) }

// authority is the one in the folder, or a new one.
func (c *keyManagerCertificates) authority() (*papers.Set, error) {
	certificate, err := os.ReadFile(c.path("ca.pem"))
	if errors.Is(err, fs.ErrNotExist) {
		set, err := papers.New()
		if err != nil {
			return nil, err
		}
		return set, c.write("ca", set.CA, set.Key)
	}
	if err == nil {
		var secret []byte
		if secret, err = os.ReadFile(c.path("ca.key")); err == nil {
			return papers.Load(certificate, secret)
		}
	}
	return nil, misused("certificate-unusable", "cannot read the authority: %w; name another folder", err)
}

func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func (c *keyManagerCertificates) write(name string, certificate, secret []byte) error {
	if err := os.WriteFile(c.path(name+".key"), secret, 0o600); err != nil {
		return misused("certificates-unwritable", "cannot write the private key: %w", err)
	}
	if err := os.WriteFile(c.path(name+".pem"), certificate, 0o644); err != nil { //nolint:gosec // a certificate is public
		return misused("certificates-unwritable", "cannot write the certificate: %w", err)
	}
	return nil
}
