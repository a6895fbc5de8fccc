package stage

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/avalhq/aval/internal/custody/papers"
)

// Papers is a folder with an authority's ca.pem, another one's stranger.pem, and NAME.pem and NAME.key of each name that was issued.
type Papers struct {
	Folder string
	set    *papers.Set
}

// NewPapers makes an authority, and server.pem, server.key for a server on loopback.
func NewPapers(tb testing.TB) *Papers {
	tb.Helper()
	p := &Papers{Folder: tb.TempDir()}
	for _, name := range []string{"stranger", "ca"} {
		set, err := papers.New()
		if err != nil {
			tb.Fatal(err)
		}
		p.set = set
		p.write(tb, name+".pem", set.CA)
	}
	p.Issue(tb, "server", "127.0.0.1")
	return p
}

// Issue makes a certificate that names its file and the others.
func (p *Papers) Issue(tb testing.TB, name string, others ...string) {
	tb.Helper()
	certificate, secret, err := p.set.Issue(append([]string{name}, others...)...)
	if err != nil {
		tb.Fatal(err)
	}
	p.write(tb, name+".pem", certificate)
	p.write(tb, name+".key", secret)
}

func (p *Papers) write(tb testing.TB, name string, content []byte) {
	tb.Helper()
	if err := os.WriteFile(p.Path(name), content, 0o600); err != nil {
		tb.Fatal(err)
	}
}

// Path is that of a file.
func (p *Papers) Path(name string) string { return filepath.Join(p.Folder, name) }

// TLS trusts an authority's file and shows a certificate, if one is named.
func (p *Papers) TLS(tb testing.TB, authority, name string) *tls.Config {
	tb.Helper()
	c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	raw, err := os.ReadFile(p.Path(authority))
	if err != nil || !c.RootCAs.AppendCertsFromPEM(raw) {
		tb.Fatal(authority, err)
	}
	if name != "" {
		pair, err := tls.LoadX509KeyPair(p.Path(name+".pem"), p.Path(name+".key"))
		if err != nil {
			tb.Fatal(err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

// SecuredKafka is a broker that speaks TLS, knows its users by SASL, and lets them do what they have a right to.
type SecuredKafka struct {
	*Server
	Papers   *Papers
	Password string // of all users, by all mechanisms
	admin    *kadm.Client
}

// NewSecuredKafka starts one that knows the users by PLAIN; a login lasts three seconds before it has to be made again.
func NewSecuredKafka(tb testing.TB, users ...string) *SecuredKafka {
	tb.Helper()
	k := &SecuredKafka{Papers: NewPapers(tb), Password: rand.Text()}
	var both []byte
	for _, name := range []string{"server.key", "server.pem"} {
		raw, err := os.ReadFile(k.Papers.Path(name))
		if err != nil {
			tb.Fatal(err)
		}
		both = append(both, raw...)
	}
	k.Papers.write(tb, "both.pem", both)
	plain := "org.apache.kafka.common.security.plain.PlainLoginModule required"
	for _, user := range users {
		plain += fmt.Sprintf(" user_%s=%q", user, k.Password)
	}
	scram := "org.apache.kafka.common.security.scram.ScramLoginModule required;"
	k.Papers.write(tb, "settings", []byte(strings.Join([]string{
		"ssl.keystore.type=PEM", "ssl.keystore.location=" + k.Papers.Path("both.pem"),
		"sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512", "connections.max.reauth.ms=3000",
		"listener.name.secured.plain.sasl.jaas.config=" + plain + ";",
		"listener.name.secured.scram-sha-256.sasl.jaas.config=" + scram, "listener.name.secured.scram-sha-512.sasl.jaas.config=" + scram,
		"authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users=User:ANONYMOUS", "",
	}, "\n")))
	k.Server = NewServer(tb, "kafka", "KAFKA_SECURED="+k.Papers.Path("settings"))
	client, err := kgo.NewClient(kgo.SeedBrokers(k.Inner(tb)))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(client.Close)
	k.admin = kadm.NewClient(client)
	k.Know(tb, k.Password, users...)
	return k
}

// Inner is the address at which everybody may do everything.
func (k *SecuredKafka) Inner(tb testing.TB) string {
	tb.Helper()
	raw, err := os.ReadFile(filepath.Join(k.folder, "kafka", "inner"))
	if err != nil {
		tb.Fatal(err)
	}
	return strings.TrimSpace(string(raw))
}

// Know lets the users log in by SCRAM with the password.
func (k *SecuredKafka) Know(tb testing.TB, password string, users ...string) {
	tb.Helper()
	for _, mechanism := range []kadm.ScramMechanism{kadm.ScramSha256, kadm.ScramSha512} { // a user once in a request
		var changes []kadm.UpsertSCRAM
		for _, user := range users {
			changes = append(changes, kadm.UpsertSCRAM{User: user, Mechanism: mechanism, Iterations: 4096, Password: password})
		}
		answer, err := k.admin.AlterUserSCRAMs(context.Background(), nil, changes)
		if err == nil {
			err = answer.Error()
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
}

// Allow gives a user rights on topics, and the right to read groups, whose names begin with the prefix.
func (k *SecuredKafka) Allow(tb testing.TB, user, prefix string, rights ...kadm.ACLOperation) {
	tb.Helper()
	allow := func(b *kadm.ACLBuilder) {
		answers, err := k.admin.CreateACLs(context.Background(), b.Allow("User:"+user).AllowHosts().ResourcePatternType(kadm.ACLPatternPrefixed))
		for _, a := range answers {
			if err == nil {
				err = a.Err
			}
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	allow(kadm.NewACLs().Topics(prefix).Operations(rights...))
	allow(kadm.NewACLs().Groups(prefix).Operations(kadm.OpRead))
}

// SecuredEtcd is an etcd that speaks TLS to clients with a certificate, and knows users.
type SecuredEtcd struct {
	*Server
	Papers *Papers
	Root   *clientv3.Client // may do everything
}

// NewSecuredEtcd starts one. A login is good for so many seconds.
func NewSecuredEtcd(tb testing.TB, seconds int) *SecuredEtcd {
	tb.Helper()
	e := &SecuredEtcd{Papers: NewPapers(tb)}
	e.Papers.Issue(tb, "root")
	e.Server = NewServer(tb, "etcd", "ETCD_SECURED="+e.Papers.Folder, fmt.Sprintf("ETCD_TOKENS=%d", seconds))
	var err error
	// The certificate's name is the user's: etcd takes it where there is no login.
	if e.Root, err = clientv3.New(clientv3.Config{Endpoints: []string{e.URL(tb)}, TLS: e.Papers.TLS(tb, "ca.pem", "root")}); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = e.Root.Close() })
	e.do(tb, func(ctx context.Context) error { _, err := e.Root.UserAdd(ctx, "root", rand.Text()); return err })
	e.do(tb, func(ctx context.Context) error { _, err := e.Root.UserGrantRole(ctx, "root", "root"); return err })
	e.do(tb, func(ctx context.Context) error { _, err := e.Root.AuthEnable(ctx); return err })
	return e
}

// Know adds a user that may read and write below the prefix.
func (e *SecuredEtcd) Know(tb testing.TB, user, password, prefix string) {
	tb.Helper()
	e.do(tb, func(ctx context.Context) error { _, err := e.Root.RoleAdd(ctx, user); return err })
	e.do(tb, func(ctx context.Context) error {
		_, err := e.Root.RoleGrantPermission(ctx, user, prefix, clientv3.GetPrefixRangeEnd(prefix), clientv3.PermissionType(clientv3.PermReadWrite))
		return err
	})
	e.do(tb, func(ctx context.Context) error { _, err := e.Root.UserAdd(ctx, user, password); return err })
	e.do(tb, func(ctx context.Context) error { _, err := e.Root.UserGrantRole(ctx, user, user); return err })
}

func (e *SecuredEtcd) do(tb testing.TB, change func(context.Context) error) {
	tb.Helper()
	if err := change(tb.Context()); err != nil {
		tb.Fatal(err)
	}
}

// SecurePostgres has a server of the test's own speak TLS, and TLS alone, and gives its administrator's URL for that.
func SecurePostgres(tb testing.TB, admin string, p *Papers) string {
	tb.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, admin)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	content := map[string]string{"pg_hba.conf": "hostssl all all 127.0.0.1/32 scram-sha-256"}
	for _, name := range []string{"server.pem", "server.key"} {
		raw, err := os.ReadFile(p.Path(name))
		if err != nil {
			tb.Fatal(err)
		}
		content[name] = string(raw)
	}
	var statements []string
	for name, text := range content {
		// The server's user has to own the key: so the server writes it, into its data folder, which is where it runs.
		statements = append(statements, fmt.Sprintf(`COPY (SELECT '%s') TO PROGRAM $$umask 077; sed 's/\\n/\n/g' > %s$$`, text, name))
	}
	statements = append(statements, "ALTER SYSTEM SET ssl_cert_file = 'server.pem'", "ALTER SYSTEM SET ssl_key_file = 'server.key'", "ALTER SYSTEM SET ssl = on",
		"SELECT pg_reload_conf()")
	for _, statement := range statements {
		if _, err := conn.Exec(ctx, statement); err != nil {
			tb.Fatal(err)
		}
	}
	return strings.Replace(admin, "sslmode=disable", "sslmode=verify-full&sslrootcert="+p.Path("ca.pem"), 1)
}
