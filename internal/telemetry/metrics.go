package telemetry

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics is what is measured. Its methods are safe for concurrent use, and do nothing on nil. Durations are in seconds,
// as Prometheus wants them.
type Metrics struct {
	registry     *prometheus.Registry
	steps        *prometheus.HistogramVec
	inFlight     prometheus.Gauge
	feederDue    prometheus.Gauge
	feederAge    prometheus.Gauge
	commitSize   prometheus.Histogram
	commitTime   prometheus.Histogram
	parked       prometheus.Counter
	referenceLag prometheus.Gauge
	requests     *prometheus.HistogramVec
	rpc          *prometheus.HistogramVec
	lanes        lanes
	pipeline     pipeline
	records      records
	keys         keys
	points       *prometheus.HistogramVec
	breakers     *prometheus.GaugeVec
	trips        *prometheus.HistogramVec
	up           *prometheus.GaugeVec
	lag          *prometheus.GaugeVec
}

// NewMetrics registers Aval's metrics, the Go runtime's and the process's in a registry of their own.
func NewMetrics() *Metrics {
	fine := prometheus.ExponentialBuckets(0.0001, 3, 12) // 0.1 ms to 18 s
	m := &Metrics{
		registry:     prometheus.NewRegistry(),
		steps:        histogram("aval_step_seconds", "Time that an action took for one message, by action and outcome.", fine, "action", "outcome"),
		inFlight:     gauge("aval_controller_in_flight", "Messages that the controller has claimed and not yet settled."),
		feederDue:    gauge("aval_feeder_due", "Messages that are due now."),
		feederAge:    gauge("aval_feeder_oldest_seconds", "How long the message that is due the longest has been due; 0 when none is."),
		commitSize:   prometheus.NewHistogram(prometheus.HistogramOpts{Name: "aval_commit_transitions", Help: "Transitions in one durable commit.", Buckets: prometheus.ExponentialBuckets(1, 2, 11)}),
		commitTime:   prometheus.NewHistogram(prometheus.HistogramOpts{Name: "aval_commit_seconds", Help: "Time of one durable commit, fsync included.", Buckets: fine}),
		parked:       prometheus.NewCounter(prometheus.CounterOpts{Name: "aval_parked_total", Help: "Messages that were parked."}),
		referenceLag: gauge("aval_reference_lag_seconds", "Age of the oldest event that Reference has not applied; 0 when it is level with Guarantee."),
		requests:     histogram("aval_http_request_seconds", "Time of HTTP requests, by method, route and status.", fine, "method", "route", "status"),
		rpc:          histogram("aval_chain_rpc_seconds", "Time of calls to the chain's node, by method and outcome.", fine, "method", "outcome"),
		points:       histogram("aval_control_point_seconds", "Time of requests to other systems, by control point, target and outcome.", fine, "point", "target", "outcome"),
		breakers:     prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "aval_control_point_breaker", Help: "State of the circuit breaker of a control point's target: 0 closed, 1 half-open, 2 open."}, []string{"point", "target"}),
		trips:        histogram("aval_endpoint_seconds", "Time of round trips to a node of the chain, by endpoint and outcome.", fine, "endpoint", "outcome"),
		up:           prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "aval_endpoint_up", Help: "1 while a node of the chain answers and is level with the others, otherwise 0."}, []string{"endpoint"}),
		lag:          prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "aval_endpoint_lag_blocks", Help: "How many blocks a node of the chain is away from the others."}, []string{"endpoint"}),
	}
	m.lanes = newLanes()
	m.lanes.register(m.registry)
	m.pipeline = newPipeline()
	m.pipeline.register(m.registry)
	m.records = newRecords()
	m.records.register(m.registry)
	m.keys = newKeys()
	m.keys.register(m.registry)
	m.registry.MustRegister(m.steps, m.inFlight, m.feederDue, m.feederAge, m.commitSize, m.commitTime, m.parked, m.referenceLag, m.requests, m.rpc, m.points, m.breakers, m.trips, m.up, m.lag,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler serves the metrics in Prometheus's text format.
func (m *Metrics) Handler() http.Handler {
	if m == nil {
		return http.NotFoundHandler()
	}
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Step counts one run of an action for one message. The outcome is one of a few words (succeeded,
// failed, later), never free text, as each value is a time series.
func (m *Metrics) Step(action, outcome string, took time.Duration) {
	if m != nil {
		m.steps.WithLabelValues(action, outcome).Observe(took.Seconds())
	}
}

// InFlight sets the number of messages claimed and not yet settled.
func (m *Metrics) InFlight(n int) {
	if m != nil {
		m.inFlight.Set(float64(n))
	}
}

// Feeder sets the depth of the queue and since when the oldest id is due; the zero time when none is.
func (m *Metrics) Feeder(due int64, oldest, now time.Time) {
	if m == nil {
		return
	}
	m.feederDue.Set(float64(due))
	age := 0.0
	if !oldest.IsZero() {
		age = max(0, now.Sub(oldest).Seconds())
	}
	m.feederAge.Set(age)
}

// Commit counts one durable commit of that many transitions.
func (m *Metrics) Commit(transitions int, took time.Duration) {
	if m != nil {
		m.commitSize.Observe(float64(transitions))
		m.commitTime.Observe(took.Seconds())
	}
}

// Parked counts a message that was parked.
func (m *Metrics) Parked() {
	if m != nil {
		m.parked.Inc()
	}
}

// ReferenceLag sets how far Reference is behind Guarantee.
func (m *Metrics) ReferenceLag(lag time.Duration) {
	if m != nil {
		m.referenceLag.Set(lag.Seconds())
	}
}

// Request counts an HTTP request. The route is the template ("/v1/messages/{id}"), never the path.
func (m *Metrics) Request(method, route string, status int, took time.Duration) {
	if m != nil {
		m.requests.WithLabelValues(method, route, strconv.Itoa(status)).Observe(took.Seconds())
	}
}

// RPC counts a call to the chain's node; the outcome is ok or a problem code. See Network.
func (m *Metrics) RPC(method, outcome string, took time.Duration) {
	if m != nil {
		m.rpc.WithLabelValues(method, outcome).Observe(took.Seconds())
	}
}

// Point counts a request of a control point to a target. The outcome is one of a few words or a problem code.
func (m *Metrics) Point(point, target, outcome string, took time.Duration) {
	if m != nil {
		m.points.WithLabelValues(point, target, outcome).Observe(took.Seconds())
	}
}

// Breaker sets the state of the circuit breaker of a control point's target: closed, half-open or open.
func (m *Metrics) Breaker(point, target, state string) {
	if m != nil {
		m.breakers.WithLabelValues(point, target).Set(map[string]float64{"half-open": 1, "open": 2}[state])
	}
}

// EndpointCall counts a round trip to a node; the outcome is "" when it was answered, otherwise what was wrong in a few words.
func (m *Metrics) EndpointCall(endpoint, outcome string, took time.Duration) {
	if outcome == "" {
		outcome = "ok"
	}
	if m != nil {
		m.trips.WithLabelValues(endpoint, outcome).Observe(took.Seconds())
	}
}

// Endpoint sets whether a node may be asked, and how far it is from the others.
func (m *Metrics) Endpoint(endpoint string, up bool, lag uint64) {
	if m == nil {
		return
	}
	well := 0.0
	if up {
		well = 1
	}
	m.up.WithLabelValues(endpoint).Set(well)
	m.lag.WithLabelValues(endpoint).Set(float64(lag))
}

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
}

func histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
}
