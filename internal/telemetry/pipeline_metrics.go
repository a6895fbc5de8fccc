package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// pipeline is what is measured of the roles that work over the bus.
type pipeline struct {
	relayed  *prometheus.CounterVec
	lag      *prometheus.GaugeVec
	requests *prometheus.CounterVec
	waiting  prometheus.Gauge
	oldest   prometheus.Gauge
}

func newPipeline() pipeline {
	return pipeline{
		relayed:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "aval_relay_records_total", Help: "Records that the relay has published, by topic."}, []string{"topic"}),
		lag:      prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "aval_relay_lag_seconds", Help: "How long ago the oldest row of the relay's last batch was committed; 0 when there was none."}, []string{"topic"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "aval_signing_requests_total", Help: "What became of requests in this process's signing workers, by outcome: signed, refused, left for later."}, []string{"outcome"}),
		waiting:  gauge("aval_signing_waiting", "Requests to sign that are not answered."),
		oldest:   gauge("aval_signing_oldest_seconds", "How long the oldest of them has waited; 0 when none does."),
	}
}

func (p pipeline) register(r *prometheus.Registry) {
	r.MustRegister(p.relayed, p.lag, p.requests, p.waiting, p.oldest)
}

// Relayed counts records that were published, and sets how old the oldest of them was.
func (m *Metrics) Relayed(topic string, records int, oldest time.Duration) {
	if m != nil {
		m.pipeline.relayed.WithLabelValues(topic).Add(float64(records))
		m.pipeline.lag.WithLabelValues(topic).Set(oldest.Seconds())
	}
}

// SigningRequests counts what became of requests to sign.
func (m *Metrics) SigningRequests(outcome string, requests int) {
	if m != nil {
		m.pipeline.requests.WithLabelValues(outcome).Add(float64(requests))
	}
}

// SigningWaiting sets how many requests wait, and since when the oldest does; the zero time when none does.
func (m *Metrics) SigningWaiting(n int, oldest, now time.Time) {
	if m == nil {
		return
	}
	age := 0.0
	if !oldest.IsZero() {
		age = max(0, now.Sub(oldest).Seconds())
	}
	m.pipeline.waiting.Set(float64(n))
	m.pipeline.oldest.Set(age)
}
