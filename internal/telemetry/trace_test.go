package telemetry

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
)

// Two processes that share nothing put the spans of one message into one trace.
func TestOneTraceForEachMessage(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	api := newTracer(sdktrace.WithSyncer(spans), "api")
	controller := newTracer(sdktrace.WithSyncer(spans), "controller")
	id := message.NewID()

	request, endRequest := api.Span(t.Context(), "PUT")
	_, endAccept := api.Message(request, id, "accept")
	endAccept(nil)
	endRequest(nil)
	step, endStep := controller.Message(t.Context(), id, "send")
	_, endCall := controller.Span(step, "eth_sendRawTransaction")
	endCall(problem.New(problem.Unavailable, "chain-unreachable", "the node at secret-access-key does not answer"))
	endStep(errors.New("untyped"))

	begun := time.Unix(1000, 0)
	controller.Past(id, "sign", begun, time.Second, "failed")

	want, err := id.UUID()
	if err != nil {
		t.Fatal(err)
	}
	for _, span := range spans.GetSpans() {
		joined := span.SpanContext.TraceID() == [16]byte(want)
		if joined != (span.Name != "PUT") {
			t.Errorf("span %s is in the trace %s", span.Name, span.SpanContext.TraceID())
		}
		if span.Name == "eth_sendRawTransaction" && (span.Status.Description != "chain-unreachable" || len(span.Events) > 0) {
			t.Errorf("the failed span says %+v", span.Status)
		}
	}
	all := spans.GetSpans()
	if len(all) != 5 {
		t.Fatalf("%d spans, want 5", len(all))
	}
	if past := all[4]; !past.StartTime.Equal(begun) || past.EndTime.Sub(past.StartTime) != time.Second || past.Status.Description != "failed" {
		t.Errorf("the past span is %+v", past)
	}
}

func TestSpansReachTheCollector(t *testing.T) {
	var posts atomic.Int32
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/traces" && r.Method == http.MethodPost {
			posts.Add(1)
		}
	}))
	defer collector.Close()
	for _, path := range []string{"", "/", "/v1/traces"} {
		posts.Store(0)
		tracer, err := NewTracer(t.Context(), collector.URL+path, "test")
		if err != nil {
			t.Fatal(err)
		}
		_, end := tracer.Message(t.Context(), message.NewID(), "accept")
		end(nil)
		if err := tracer.Close(t.Context()); err != nil || posts.Load() != 1 {
			t.Errorf("%d posts to the collector at %q, %v", posts.Load(), path, err)
		}
	}
}

func TestNoEndpointNoTracer(t *testing.T) {
	tracer, err := NewTracer(t.Context(), "", "test")
	if tracer != nil || err != nil {
		t.Fatalf("got %v, %v", tracer, err)
	}
	id := message.NewID()
	ctx, end := tracer.Message(t.Context(), id, "accept")
	_, endSpan := tracer.Span(ctx, "inner")
	endSpan(nil)
	tracer.Past(id, "sign", time.Now(), 0, "")
	end(errors.New("no"))
	if MessageFrom(ctx) != id || tracer.Close(ctx) != nil {
		t.Error("the nil tracer should still name the message to the log")
	}
}
