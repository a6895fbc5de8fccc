//go:build cluster

package cluster

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/avalhq/aval/client"
	kafkatrial "github.com/avalhq/aval/internal/backend/kafka/trial"
	"github.com/avalhq/aval/test/e2e/stage"
)

// fleet is a crowd with a process for each role, over PostgreSQL, Kafka and etcd of its own, each of which can be killed and cut off.
type fleet struct {
	*crowd
	servers map[string]*stage.Server
	ways    map[string]*stage.Proxy // to the servers, and to the key-manager
	roles   []string                // of the processes, in the order of the crowd's
	records *kafkatrial.Disturber
}

// fleetRoles are the processes of a fleet.
func fleetRoles() []string {
	return []string{"api", "key-manager", "controller", "relay", "signing-worker", "signing-worker", "sender", "tx-verify", "watcher"}
}

// launch starts the servers and the processes.
func launch(t *testing.T) *fleet {
	t.Helper()
	f := &fleet{servers: map[string]*stage.Server{}, ways: map[string]*stage.Proxy{}, roles: fleetRoles()}
	f.servers["postgres"], f.servers["etcd"] = stage.NewServer(t, "postgres"), stage.NewServer(t, "etcd")
	f.servers["kafka"], f.ways["kafka"] = stage.NewKafka(t)
	registry, err := url.Parse(f.servers["etcd"].URL(t))
	if err != nil {
		t.Fatal(err)
	}
	f.ways["etcd"] = stage.NewProxy(t, registry.Host)
	also := pipeline()
	also["kafka"] = map[string]any{"brokers": f.ways["kafka"].Address, "partitions": 8}
	keys := stage.FreeAddress(t)
	f.ways["key-manager"] = stage.NewProxy(t, keys)
	also["key_manager"] = map[string]any{"address": f.ways["key-manager"].Address, "listen": keys, "plaintext": true}
	also["etcd"] = map[string]any{"endpoints": []string{"http://" + f.ways["etcd"].Address}}
	f.crowd = gather(t, place{
		processes: 1, attempts: 3, payers: 16, admin: f.servers["postgres"].URL(t), also: also, args: []string{"--role", "api"},
		way: func(_ int, upstream string) string {
			f.ways["postgres"] = stage.NewProxy(t, upstream)
			return f.ways["postgres"].Address
		},
		before: func(c *crowd) {
			if _, err := c.all[0].Run(t.Context(), "cluster", "init"); err != nil {
				t.Fatal(err)
			}
			c.join(c.all[0], f.roles[1]) // whom the others need at their start
		},
	})
	f.strays = true
	for _, role := range f.roles[2:] {
		f.join(f.all[0], role)
	}
	f.records = (&kafkatrial.Server{Given: f.ways["kafka"].Address}).Disturb(t, "aval.")
	return f
}

// back starts a process again, with its role.
func (f *fleet) back(at int) { f.start(at, "", "--role", f.roles[at]) }

// armed starts a process again that something will happen to, perhaps before it is ready.
func (f *fleet) armed(at int, faults string) {
	p, err := f.all[at].Start(faults, "--role", f.roles[at])
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(p.Kill)
	f.live[at] = p
}

// having are the processes with a role.
func (f *fleet) having(role string) (all []int) {
	for at, r := range f.roles {
		if r == role {
			all = append(all, at)
		}
	}
	return all
}

// try lets something happen under load. A transfer that is handed over when it is over ends, and so does everything else.
func (f *fleet) try(x trouble) {
	f.t.Helper()
	f.pause = max(time.Second, x.long/15) // between two messages of each of sixteen clients
	before := len(f.sent)
	stop := f.load()
	f.ahead(x.name + ", before")
	x.strike(f)
	took := f.ahead(x.name)
	stop()
	f.t.Logf("%s: a transfer that was handed over afterwards had ended after %v; %d messages", x.name, took.Round(time.Millisecond), len(f.sent)-before)
	f.settle()
}

// ahead hands a transfer over and waits for its end.
func (f *fleet) ahead(name string) time.Duration {
	f.t.Helper()
	began := time.Now()
	p := f.payers[0]
	m := f.compose(p, 0, true)
	f.see(m)
	if m.failed != nil {
		f.t.Fatalf("%s: a transfer was not accepted: %v\n%s", name, m.failed, f.stderr())
	}
	for time.Since(began) < patience {
		if rec, err := p.at[0].Get(f.t.Context(), m.id); err == nil && rec.Status == client.Succeeded {
			return time.Since(began)
		}
		time.Sleep(20 * time.Millisecond)
	}
	f.t.Errorf("%s: a transfer has not ended after %v (I18)\n%s\n%s", name, patience, f.pending(), f.stderr())
	return patience
}

// witness asks Aval's own witnesses, after the chain: what was signed is what was decided (I7, I15), and no record was parked (I18).
func (f *fleet) witness() {
	f.t.Helper()
	said, err := f.all[0].Run(f.t.Context(), "job", "verify")
	if err != nil {
		f.t.Error(err)
	}
	f.t.Log(strings.TrimSpace(said))
	if said, err = f.all[0].Run(f.t.Context(), "bus", "parked", "list"); err != nil || !strings.Contains(said, "No record is parked.") {
		f.t.Errorf("records are parked: %s, %v", said, err)
	}
}

// looks asks each process for its health, its readiness and its metrics, and only one serves the API.
func (f *fleet) looks(t *testing.T) {
	for at, in := range f.all {
		for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/metrics": 200, "/openapi.json": 404} {
			if f.roles[at] == "api" && path == "/openapi.json" {
				want = 200
			}
			if got := (&stage.Party{URL: in.URL}).Do(t, "GET", path, "none", nil).Status; got != want {
				t.Errorf("%s of the role %s: %d, want %d", path, f.roles[at], got, want)
			}
		}
	}
}

// readiness waits until those who need a server say that they are ready, or not.
func (f *fleet) readiness(server string, want int) {
	f.t.Helper()
	need := append(f.having("sender"), f.having("tx-verify")...)
	if server == "etcd" {
		need = f.having("key-manager")
	}
	for _, at := range need {
		for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
			got := (&stage.Party{URL: f.all[at].URL}).Do(f.t, "GET", "/readyz", "none", nil)
			if got.Status == want {
				break
			}
			if time.Since(began) > patience {
				f.t.Fatalf("/readyz of the role %s: %d, want %d: %s", f.roles[at], got.Status, want, got.Body)
			}
		}
	}
}

// counted looks at what the roles that read what was signed have counted since they were started: no alarm, and records.
func (f *fleet) counted() {
	f.t.Helper()
	for role, want := range map[string][]string{
		"sender":    {`aval_bus_records_total{group="sender",outcome="parked"} 0`},
		"tx-verify": {`aval_bus_records_total{group="tx-verify",outcome="parked"} 0`, `aval_signed_verdicts_total{verdict="orphan"} 0`, `aval_signed_verdicts_total{verdict="double"} 0`, `aval_signed_verdicts_total{verdict="altered"} 0`},
	} {
		told := string((&stage.Party{URL: f.all[f.having(role)[0]].URL}).Do(f.t, "GET", "/metrics", "none", nil).Body)
		for _, line := range want {
			if !strings.Contains(told, line) {
				f.t.Errorf("the metrics of the role %s do not say %s (I15)", role, line)
			}
		}
		if handled := `aval_bus_records_total{group="` + role + `",outcome="handled"} `; !strings.Contains(told, handled) || strings.Contains(told, handled+"0\n") {
			f.t.Errorf("the role %s has handled nothing", role)
		}
	}
}
