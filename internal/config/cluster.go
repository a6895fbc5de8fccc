package config

import (
	"slices"
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

// Signing configures who signs transactions.
type Signing struct {
	// Who signs: controller, the process that drives a message, at once; or workers, processes with the role signing-worker, which
	// need PostgreSQL and also the role relay in some process. It can be changed between two starts of all processes.
	By string `yaml:"by"`

	// With by: workers, how many a process with the role signing-worker runs side by side.
	Workers int `yaml:"workers"`

	// With by: workers, the most requests that one of them takes at once.
	Batch int `yaml:"batch"`

	// Whether the role relay publishes what happens to messages on the topic events, as CloudEvents. While it does, events are kept
	// in the database until they have been published. The same for all processes with that role.
	Events bool `yaml:"events"`
}

// Who signs.
const (
	SignedByController = "controller"
	SignedByWorkers    = "workers"
)

func (v *violations) signing(c Signing, database Database) {
	v.that(slices.Contains([]string{SignedByController, SignedByWorkers}, c.By), "signing.by is %q: set controller or workers", c.By)
	v.that(c.Workers >= 1, "signing.workers is %d: set 1 or more", c.Workers)
	v.that(c.Batch >= 1, "signing.batch is %d: set 1 or more, such as 1024", c.Batch)
	v.that(database.URL != "" || c.By != SignedByWorkers, "signing.by is workers and database.url is not set: one process on SQLite files signs itself; set database.url, or signing.by to controller")
	v.that(database.URL != "" || !c.Events, "signing.events is true and database.url is not set: without PostgreSQL there is no bus to publish on")
}
