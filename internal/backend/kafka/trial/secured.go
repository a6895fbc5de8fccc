//go:build cluster

package trial

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/avalhq/aval/test/e2e/stage"
)

// Secured is a broker that speaks TLS, knows its users by SASL, and lets them do what they have a right to.
type Secured struct {
	*stage.Server
	Papers   *stage.Papers
	Password string // of all users, by all mechanisms
	admin    *kadm.Client
}

// NewSecured starts one that knows the users by PLAIN; a login lasts three seconds before it has to be made again.
func NewSecured(tb testing.TB, users ...string) *Secured {
	tb.Helper()
	k := &Secured{Papers: stage.NewPapers(tb), Password: rand.Text()}
	var both []byte
	for _, name := range []string{"server.key", "server.pem"} {
		raw, err := os.ReadFile(k.Papers.Path(name))
		if err != nil {
			tb.Fatal(err)
		}
		both = append(both, raw...)
	}
	k.Papers.Write(tb, "both.pem", both)
	plain := "org.apache.kafka.common.security.plain.PlainLoginModule required"
	for _, user := range users {
		plain += fmt.Sprintf(" user_%s=%q", user, k.Password)
	}
	scram := "org.apache.kafka.common.security.scram.ScramLoginModule required;"
	k.Papers.Write(tb, "settings", []byte(strings.Join([]string{
		"ssl.keystore.type=PEM", "ssl.keystore.location=" + k.Papers.Path("both.pem"),
		"sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512", "connections.max.reauth.ms=3000",
		"listener.name.secured.plain.sasl.jaas.config=" + plain + ";",
		"listener.name.secured.scram-sha-256.sasl.jaas.config=" + scram, "listener.name.secured.scram-sha-512.sasl.jaas.config=" + scram,
		"authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users=User:ANONYMOUS", "",
	}, "\n")))
	k.Server = stage.NewServer(tb, "kafka", "KAFKA_SECURED="+k.Papers.Path("settings"))
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
func (k *Secured) Inner(tb testing.TB) string {
	tb.Helper()
	return k.Note(tb, "inner")
}

// Know lets the users log in by SCRAM with the password.
func (k *Secured) Know(tb testing.TB, password string, users ...string) {
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
func (k *Secured) Allow(tb testing.TB, user, prefix string, rights ...string) {
	tb.Helper()
	var operations []kadm.ACLOperation
	for _, right := range rights {
		operation, err := kmsg.ParseACLOperation(right)
		if err != nil {
			tb.Fatal(err)
		}
		operations = append(operations, operation)
	}
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
	allow(kadm.NewACLs().Topics(prefix).Operations(operations...))
	allow(kadm.NewACLs().Groups(prefix).Operations(kadm.OpRead))
}
