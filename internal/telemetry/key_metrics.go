package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/key/remote"
)

// keys is what is measured of a key-manager.
type keys struct {
	leases            *prometheus.HistogramVec
	waiting, sessions prometheus.Gauge
	aside             prometheus.Counter
	known             *prometheus.GaugeVec
}

func newKeys() keys {
	return keys{
		leases:   histogram("aval_key_lease_seconds", "Time from asking for a key to the lease or the refusal, the wait included, by outcome.", prometheus.ExponentialBuckets(0.0001, 3, 12), "outcome"),
		waiting:  gauge("aval_key_waiting", "Calls for a key that are not answered yet."),
		sessions: gauge("aval_key_sessions", "Workers with a session at the key-manager."),
		aside:    prometheus.NewCounter(prometheus.CounterOpts{Name: "aval_keys_set_aside_total", Help: "Keys that were set aside because their worker was gone or late."}),
		known:    prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "aval_keys", Help: "Keys in the registry, by status: free, leased, quarantined."}, []string{"status"}),
	}
}

func (k keys) register(r *prometheus.Registry) {
	r.MustRegister(k.leases, k.waiting, k.sessions, k.aside, k.known)
}

// KeyManager tells the metrics what a key-manager does.
func (m *Metrics) KeyManager() remote.Observer {
	return remote.Observer{
		Leased: func(outcome string, took time.Duration) {
			m.keys.leases.WithLabelValues(outcome).Observe(took.Seconds())
		},
		Waiting:  func(change int) { m.keys.waiting.Add(float64(change)) },
		Sessions: func(change int) { m.keys.sessions.Add(float64(change)) },
		SetAside: func(n int) { m.keys.aside.Add(float64(n)) },
	}
}

// Keys sets how many keys there are of each status.
func (m *Metrics) Keys(count map[key.Status]int) {
	for _, status := range []key.Status{key.Free, key.Leased, key.Quarantined} {
		m.keys.known.WithLabelValues(string(status)).Set(float64(count[status]))
	}
}
