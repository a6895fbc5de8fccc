package telemetry

import "github.com/prometheus/client_golang/prometheus"

// records is what is measured of the records that roles hand each other, and of what they found about signed transactions.
type records struct {
	handled  *prometheus.CounterVec
	parked   prometheus.Gauge
	behind   *prometheus.GaugeVec
	verdicts *prometheus.CounterVec
	sent     *prometheus.CounterVec
}

func newRecords() records {
	return records{
		handled:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "aval_bus_records_total", Help: "Records of topics that a group has settled, by group and outcome: handled, parked."}, []string{"group", "outcome"}),
		parked:   gauge("aval_bus_parked", "Records that could not be used and wait for an operator."),
		behind:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "aval_bus_behind_records", Help: "Records of a topic that a group has not committed, by group and topic."}, []string{"group", "topic"}),
		verdicts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "aval_signed_verdicts_total", Help: "What was found about signed transactions, by verdict."}, []string{"verdict"}),
		sent:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "aval_sender_records_total", Help: "Signed transactions that were announced to the sender, by what became of them: sent, known, refused."}, []string{"outcome"}),
	}
}

func (r records) register(registry *prometheus.Registry) {
	registry.MustRegister(r.handled, r.parked, r.behind, r.verdicts, r.sent)
}

// Consumes has a group's counters begin with 0, so that the first parked record is an increase.
func (m *Metrics) Consumes(group string) {
	if m != nil {
		m.records.handled.WithLabelValues(group, "handled")
		m.records.handled.WithLabelValues(group, "parked")
	}
}

// Consumed counts records that a group has settled, some of them by parking.
func (m *Metrics) Consumed(group string, records, parked int) {
	if m != nil {
		m.records.handled.WithLabelValues(group, "handled").Add(float64(records - parked))
		m.records.handled.WithLabelValues(group, "parked").Add(float64(parked))
	}
}

// RecordsParked sets how many records wait for an operator.
func (m *Metrics) RecordsParked(n int64) {
	if m != nil {
		m.records.parked.Set(float64(n))
	}
}

// Behind sets how many records of a topic a group has not committed.
func (m *Metrics) Behind(group, topic string, records int64) {
	if m != nil {
		m.records.behind.WithLabelValues(group, topic).Set(float64(records))
	}
}

// Verdicts has the counters of these verdicts begin with 0, so that the first one is an increase.
func (m *Metrics) Verdicts(words ...string) {
	if m != nil {
		for _, word := range words {
			m.records.verdicts.WithLabelValues(word)
		}
	}
}

// Verdict counts what was found about a signed transaction.
func (m *Metrics) Verdict(word string) {
	if m != nil {
		m.records.verdicts.WithLabelValues(word).Inc()
	}
}

// Announced counts signed transactions that were announced to the sender.
func (m *Metrics) Announced(outcome string, n int) {
	if m != nil {
		m.records.sent.WithLabelValues(outcome).Add(float64(n))
	}
}
