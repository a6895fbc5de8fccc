package telemetry_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/telemetry"
)

func record(m *telemetry.Metrics) {
	now := time.Unix(1000, 0)
	m.Step("send", "succeeded", 20*time.Millisecond)
	m.InFlight(3)
	m.InFlight(2)
	m.Feeder(5, now.Add(-4*time.Second), now)
	m.Commit(64, 2*time.Millisecond)
	m.Parked()
	m.ReferenceLag(time.Second)
	m.Request("GET", "/v1/messages/{id}", 404, time.Millisecond)
	m.RPC("eth_getBalance", "ok", time.Millisecond)
	m.EndpointCall("https://node.example", "", time.Millisecond)
	m.EndpointCall("https://node.example", "limited", time.Millisecond)
	m.Endpoint("https://node.example", true, 2)
}

func scrape(m *telemetry.Metrics) string {
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

func TestMetricsAreServed(t *testing.T) {
	m := telemetry.NewMetrics()
	record(m)
	text := scrape(m)
	for _, want := range []string{
		`aval_step_seconds_count{action="send",outcome="succeeded"} 1`,
		`aval_controller_in_flight 2`,
		`aval_feeder_due 5`,
		`aval_feeder_oldest_seconds 4`,
		`aval_commit_transitions_sum 64`,
		`aval_commit_seconds_bucket{le="0.0027"} 1`,
		`aval_parked_total 1`,
		`aval_reference_lag_seconds 1`,
		`aval_http_request_seconds_count{method="GET",route="/v1/messages/{id}",status="404"} 1`,
		`aval_chain_rpc_seconds_count{method="eth_getBalance",outcome="ok"} 1`,
		`aval_endpoint_seconds_count{endpoint="https://node.example",outcome="ok"} 1`,
		`aval_endpoint_seconds_count{endpoint="https://node.example",outcome="limited"} 1`,
		`aval_endpoint_up{endpoint="https://node.example"} 1`,
		`aval_endpoint_lag_blocks{endpoint="https://node.example"} 2`,
		`go_goroutines`,
		`process_`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
	m.Feeder(0, time.Time{}, time.Unix(1000, 0))
	if text := scrape(m); !strings.Contains(text, "aval_feeder_oldest_seconds 0\n") {
		t.Error("an empty queue has no age")
	}
}

// Two sets in one process do not meet: nothing is registered globally.
func TestMetricsAreNotGlobal(t *testing.T) {
	one, other := telemetry.NewMetrics(), telemetry.NewMetrics()
	record(one)
	if !strings.Contains(scrape(other), "aval_parked_total 0") {
		t.Error("one set of metrics shows in another")
	}
}

func TestNilMetricsDoNothing(t *testing.T) {
	var m *telemetry.Metrics
	record(m)
	if got := scrape(m); !strings.Contains(got, "404") {
		t.Errorf("nil metrics served %q", got)
	}
}

func TestEverySamplesAtOnceAndThenAtIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
		defer cancel()
		samples := 0
		if err := telemetry.Every(ctx, 10*time.Second, func(context.Context) { samples++ }); err != nil || samples != 3 {
			t.Errorf("%d samples in 25s, %v", samples, err)
		}
	})
}

// network answers a call to the chain with err.
type network struct {
	chain.Network
	err error
}

func (n network) Head(context.Context) (uint64, error) { return 7, n.err }

func (n network) Send(_ context.Context, raw [][]byte) []error {
	errs := make([]error, len(raw))
	errs[len(raw)-1] = n.err
	return errs
}

func TestNetworkMeasuresCallsAndChangesNothing(t *testing.T) {
	m := telemetry.NewMetrics()
	down := problem.New(problem.Unavailable, "chain-unreachable", "the node does not answer")
	well, ill := m.Network(network{}), m.Network(network{err: down})
	if head, err := well.Head(t.Context()); head != 7 || err != nil {
		t.Errorf("head %d, %v", head, err)
	}
	if errs := ill.Send(t.Context(), make([][]byte, 2)); errs[0] != nil || !errors.Is(errs[1], down) {
		t.Errorf("sent with %v", errs)
	}
	text := scrape(m)
	for _, want := range []string{`aval_chain_rpc_seconds_count{method="head",outcome="ok"} 1`, `aval_chain_rpc_seconds_count{method="send",outcome="chain-unreachable"} 1`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
	var none *telemetry.Metrics
	if bare := (network{}); none.Network(bare) != chain.Network(bare) {
		t.Error("nil metrics should leave the network as it is")
	}
}
