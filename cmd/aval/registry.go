package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"os"

	"github.com/avalhq/aval/internal/backend/etcd"
	"github.com/avalhq/aval/internal/backend/postgres"
	"github.com/avalhq/aval/internal/config"
	"github.com/avalhq/aval/internal/custody/key/remote"
	"github.com/avalhq/aval/internal/fault"
)

// leaseElsewhere has the keys leased by the key-manager or by etcd, when the configuration names one; what is decided with them stays
// in the database.
func leaseElsewhere(ctx context.Context, c config.Config, db *postgres.DB, s *storage, faults *fault.Points) error {
	inEtcd := len(c.Etcd.Endpoints) > 0
	if !inEtcd {
		if err := db.Here(ctx); err != nil || c.KeyManager.Address == "" {
			return err
		}
	}
	open := openManaged
	if c.KeyManager.Address == "" {
		open = openEtcd
	}
	registry, err := open(ctx, c, db, faults)
	if err != nil {
		return err
	}
	s.keys, s.holder = registry, registry.Process()
	if inEtcd {
		s.decisions = postgres.NewDecisionsUnder(db, registry)
	}
	s.ready["key registry"] = registry.Ping
	s.closing(registry.Close)
	return nil
}

// elsewhere is a registry of keys that is not in the database.
type elsewhere interface {
	keys
	Process() string
	Ping(ctx context.Context) error
	Close() error
}

func openEtcd(ctx context.Context, c config.Config, db *postgres.DB, faults *fault.Points) (elsewhere, error) {
	options, err := etcdOptions(c.Etcd)
	if err != nil {
		return nil, err
	}
	options.Owner, options.Mirror, options.Faults = db.Elsewhere, postgres.NewMirror(db), faults
	return etcd.Open(ctx, options)
}

func openManaged(ctx context.Context, c config.Config, _ *postgres.DB, faults *fault.Points) (elsewhere, error) {
	options := remote.Options{Address: c.KeyManager.Address, Name: program, Faults: faults}
	if !c.KeyManager.Plaintext {
		secured, err := certificates("key_manager.tls", c.KeyManager.TLS)
		if err != nil {
			return nil, err
		}
		options.TLS, options.Name = secured, nameIn(secured)
	}
	return remote.Open(ctx, options)
}

// nameIn is how a process's own certificate calls it.
func nameIn(c *tls.Config) string {
	leaf := c.Certificates[0].Leaf
	if len(leaf.DNSNames) > 0 {
		return leaf.DNSNames[0]
	}
	return leaf.Subject.CommonName
}

func etcdOptions(c config.Etcd) (o etcd.Options, err error) {
	o = etcd.Options{Endpoints: c.Endpoints.Strings(), Prefix: c.Prefix, User: c.User, Name: program}
	if kind, where := c.Source(); kind != "" {
		if o.Password, err = readPassword(kind, where, "etcd.password"); err != nil {
			return o, err
		}
	}
	if o.TLS, err = certificates("etcd.tls", c.TLS); o.TLS == nil {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12} // without effect on endpoints without TLS
	}
	return o, err
}

// certificates reads the files that a section names; nil when it names none.
func certificates(field string, c config.TLS) (*tls.Config, error) {
	if c == (config.TLS{}) {
		return nil, nil
	}
	read := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		raw, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, misused("certificate-unusable", "cannot read the authorities' certificates: %w; check %s.ca", err, field)
		}
		read.RootCAs = x509.NewCertPool()
		if !read.RootCAs.AppendCertsFromPEM(raw) {
			return nil, misused("certificate-unusable", "there is no certificate in %s; %s.ca names a file in PEM", c.CA, field)
		}
	}
	if c.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, misused("certificate-unusable", "the certificate in %s and the key in %s cannot be used: %w; check %s.cert and %s.key", c.Cert, c.Key, err, field, field)
		}
		read.Certificates = []tls.Certificate{pair}
	}
	return read, nil
}
