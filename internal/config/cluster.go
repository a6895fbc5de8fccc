package config

import (
	"net"
	"regexp"
	"slices"
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

// Kafka configures the Apache Kafka that carries records between processes. It is never the record: whatever is on its topics is in
// the database as well.
type Kafka struct {
	// Addresses of some of its brokers, host:port, separated by blanks. aval cluster init makes the topics. Empty: PostgreSQL
	// carries the records, or nothing has to in one process.
	Brokers string `yaml:"brokers"`

	// What the names of Aval's topics and groups begin with. Each installation has its own.
	Prefix string `yaml:"prefix"`

	// The partitions of each topic: the most processes of a role that can share its work. It can grow, never shrink.
	Partitions int `yaml:"partitions"`

	// The brokers that keep a copy of each record. 3 on a cluster of three brokers or more.
	Replication int `yaml:"replication"`

	// Speak TLS to the brokers.
	Secure bool `yaml:"secure"`

	// Certificates, for secure.
	TLS TLS `yaml:"tls"`

	// How the login is made (SASL): plain, scram-sha-256 or scram-sha-512. Empty: none.
	Mechanism string `yaml:"mechanism"`

	// The user of the login.
	User string `yaml:"user"`

	// Where its password comes from: "file:PATH" reads a file's first line, "env:NAME" an environment variable. Never the
	// password itself.
	Password string `yaml:"password"`
}

// Source splits Password into its kind (file, env) and the path or name after the colon.
func (c Kafka) Source() (kind, arg string) { return source(c.Password) }

// topicPrefix is what Kafka takes in the name of a topic, and leaves room for the rest of it.
var topicPrefix = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,200}$`)

// kafka says what cannot work; database is whether there is one.
func (v *violations) kafka(c Kafka, database bool) {
	for _, address := range strings.Fields(c.Brokers) {
		_, port, err := net.SplitHostPort(address)
		v.that(err == nil && port != "", "kafka.brokers names %q: write host:port, such as kafka-1.example:9092", address)
	}
	v.that(c.Brokers == "" || database, "kafka.brokers is set and database.url is not: processes that share Kafka share a database; set database.url, or empty kafka.brokers")
	v.that(topicPrefix.MatchString(c.Prefix), "kafka.prefix is %q: set 1 to 200 letters, digits, dots and hyphens, such as aval.", c.Prefix)
	v.that(c.Partitions >= 1 && c.Partitions <= 1000, "kafka.partitions is %d: set 1 to 1000, such as 16", c.Partitions)
	v.that(c.Replication >= 1 && c.Replication <= 100, "kafka.replication is %d: set the number of copies, such as 3 on three brokers", c.Replication)
	v.that(c.Secure || c.TLS == (TLS{}), "kafka.tls is without effect while kafka.secure is false: set it to true, or take kafka.tls out")
	v.certificate("kafka.tls", c.TLS)
	mechanisms := []string{"", "plain", "scram-sha-256", "scram-sha-512"}
	v.that(slices.Contains(mechanisms, c.Mechanism), "kafka.mechanism is %q: set plain, scram-sha-256, scram-sha-512 or nothing", c.Mechanism)
	v.that((c.Mechanism == "") == (c.User == ""), "kafka.mechanism and kafka.user belong together: set both or none")
	kind, arg := c.Source()
	given := (kind == "file" || kind == "env") && arg != ""
	v.that(c.Password == "" || given, "kafka.password does not say where the password comes from: write file:PATH or env:NAME, never the password itself")
	v.that(c.Mechanism == "" || given, "kafka.mechanism is set and kafka.password is not: write file:PATH or env:NAME")
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
