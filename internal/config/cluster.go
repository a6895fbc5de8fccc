package config

import (
	"net"
	"strconv"
	"strings"
)

// Etcd configures the registry of keys and their leases. What is decided with the keys is in the database all the same, and the
// registry is filled from there when it is new. A database whose keys were leased by etcd once stays with it.
type Etcd struct {
	// The members of the cluster, one or a list: http://host:port, or https. Empty: the database leases the keys.
	Endpoints Endpoints `yaml:"endpoints"`

	// What the names of everything in etcd begin with. Each database has one of its own.
	Prefix string `yaml:"prefix"`

	// The user of etcd, who may read and write below the prefix. Empty: etcd knows no users, or knows them by their certificates.
	User string `yaml:"user"`

	// Where that user's password comes from: "file:PATH" reads a file's first line, "env:NAME" an environment variable. Never the
	// password itself.
	Password string `yaml:"password"`

	// Certificates, for endpoints that begin with https.
	TLS TLS `yaml:"tls"`
}

// KeyManager configures the key-manager, and how the other processes find it.
type KeyManager struct {
	// Where the key-manager is: host:port. Processes that sign lease their keys from it. Empty: they lease them from etcd or the
	// database themselves.
	Address string `yaml:"address"`

	// Where the key-manager listens, in the process with that role: host:port. Port 0 takes a free one.
	Listen string `yaml:"listen"`

	// The certificate of this process and the authority that has signed those of all others: both sides show theirs. The name in
	// a worker's certificate is the name under which it holds keys. aval key-manager certificates makes a set to try.
	TLS TLS `yaml:"tls"`

	// Speaks plain text, with neither certificates nor secrecy. Only on a loopback address, to try things out.
	Plaintext bool `yaml:"plaintext"`
}

// TLS names files with certificates, in PEM.
type TLS struct {
	// The file with the certificates of the authorities that are believed. Empty: those of the operating system.
	CA string `yaml:"ca"`

	// The file with the certificate that this process shows, and those between it and the authority.
	Cert string `yaml:"cert"`

	// The file with the private key of that certificate.
	Key string `yaml:"key"`
}

func (v *violations) etcd(c Etcd, database Database) {
	kind, arg := source(c.Password)
	v.that(c.Password == "" || (kind == "file" || kind == "env") && arg != "", "etcd.password does not say where the password comes from: write file:PATH or env:NAME, never the password itself")
	v.that(c.User == "" || c.Password != "", "etcd.user is set and etcd.password is not: say where the password comes from")
	v.that(strings.HasPrefix(c.Prefix, "/") && strings.HasSuffix(c.Prefix, "/"), "etcd.prefix is %q: set one that begins and ends with /, such as /aval/", c.Prefix)
	v.certificate("etcd.tls", c.TLS)
	if len(c.Endpoints) == 0 {
		return
	}
	v.that(database.URL != "", "etcd.endpoints is set and database.url is not: one process on SQLite files leases its keys itself; set database.url, or take etcd.endpoints out")
	for _, one := range c.Endpoints {
		v.link("etcd.endpoints", string(one), "http", "https")
	}
}

// Source splits Password into its kind (file, env) and the path or name after the colon.
func (c Etcd) Source() (kind, arg string) { return source(c.Password) }

func (v *violations) certificate(field string, c TLS) {
	v.that((c.Cert == "") == (c.Key == ""), "%s.cert and %s.key belong together: set both, or neither", field, field)
}

func (v *violations) keyManager(c KeyManager, database Database) {
	v.certificate("key_manager.tls", c.TLS)
	for field, at := range map[string]string{"key_manager.address": c.Address, "key_manager.listen": c.Listen} {
		if at == "" {
			continue
		}
		_, port, err := net.SplitHostPort(at)
		if err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
		v.that(err == nil, "%s is %q: set host:port, such as 127.0.0.1:8443", field, at)
		v.that(!c.Plaintext || err != nil || !reachable(at), "key_manager.plaintext is on while %s is %s: leases would be had by whoever asks; set key_manager.tls, or an address on loopback", field, at)
		v.that(c.Plaintext || c.TLS.Cert != "" && c.TLS.CA != "", "%s is set and key_manager.tls is not complete: set ca, cert and key; aval key-manager certificates makes a set to try", field)
		v.that(database.URL != "", "%s is set and database.url is not: one process on SQLite files leases its keys itself; set database.url, or take it out", field)
	}
}
