package telemetry

import (
	"math/big"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// lanes is what is measured of the transactions of each key.
type lanes struct {
	open, window, oldest, gap, halted, balance *prometheus.GaugeVec
	events, fees                               *prometheus.CounterVec
}

func newLanes() lanes {
	of := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{"key"})
	}
	return lanes{
		open:    of("aval_lane_open", "Transactions of a key that no block holds."),
		window:  of("aval_lane_window", "How many transactions of a key may be with a node at once; it follows the node's answers."),
		oldest:  of("aval_lane_oldest_seconds", "How long the first transaction of a key that no block holds has been open; 0 when none is."),
		gap:     of("aval_lane_gap", "1 while the first of them is not with a node and others behind it are, otherwise 0."),
		halted:  of("aval_lane_halted", "1 while a key with open transactions is set aside, otherwise 0."),
		balance: of("aval_lane_balance", "What the address of a key with open transactions has left, in the coin's smallest unit."),
		fees:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "aval_lane_fees_total", Help: "Fees of a key's confirmed transactions, in the coin's smallest unit."}, []string{"key"}),
		events:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "aval_transaction_events_total", Help: "What happened to transactions besides being mined, by what it was."}, []string{"event"}),
	}
}

func (l lanes) register(r *prometheus.Registry) {
	r.MustRegister(l.open, l.window, l.oldest, l.gap, l.halted, l.balance, l.events, l.fees)
}

// Lane sets what a look at a key's transactions has shown.
func (m *Metrics) Lane(key string, open int, window uint64, oldest time.Duration, gap, halted bool) {
	if m == nil {
		return
	}
	m.lanes.open.WithLabelValues(key).Set(float64(open))
	m.lanes.window.WithLabelValues(key).Set(float64(window))
	m.lanes.oldest.WithLabelValues(key).Set(oldest.Seconds())
	m.lanes.gap.WithLabelValues(key).Set(flag(gap))
	m.lanes.halted.WithLabelValues(key).Set(flag(halted))
}

// TransactionEvent counts an event of a transaction, by its word: raised, no-op, resent, reversed, …
func (m *Metrics) TransactionEvent(what string) {
	if m != nil {
		m.lanes.events.WithLabelValues(what).Inc()
	}
}

// Paid counts what a confirmed transaction of a key cost.
func (m *Metrics) Paid(key string, fee *big.Int) {
	if m != nil {
		m.lanes.fees.WithLabelValues(key).Add(inexact(fee))
	}
}

// Balance sets what a key's address has left.
func (m *Metrics) Balance(key string, left *big.Int) {
	if m != nil {
		m.lanes.balance.WithLabelValues(key).Set(inexact(left))
	}
}

// inexact is good enough for a chart, and for nothing else.
func inexact(n *big.Int) float64 {
	f, _ := new(big.Float).SetInt(n).Float64()
	return f
}

func flag(on bool) float64 {
	if on {
		return 1
	}
	return 0
}
