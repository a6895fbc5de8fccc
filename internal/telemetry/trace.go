package telemetry

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
)

// Tracer records what is done for each message. Its methods do nothing on nil, at the price of a comparison.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// NewTracer sends spans in batches to the OTLP/HTTP collector at the endpoint URL; an empty endpoint gives nil. The
// collector need not be there: spans that cannot be delivered are dropped. Process names this process's role.
func NewTracer(ctx context.Context, endpoint, process string) (*Tracer, error) {
	if endpoint == "" {
		return nil, nil
	}
	const signal = "/v1/traces" // where a collector takes traces, below its URL
	endpoint = strings.TrimSuffix(strings.TrimSuffix(endpoint, "/"), signal) + signal
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(endpoint))
	if err != nil {
		return nil, fmt.Errorf("traces cannot be sent, check telemetry.otlp_endpoint: %w", err)
	}
	return newTracer(sdktrace.WithBatcher(exporter), process), nil
}

func newTracer(export sdktrace.TracerProviderOption, process string) *Tracer {
	// Every message is traced: a ratio by trace id would not be one, as the bytes it looks at are not random in a UUID.
	provider := sdktrace.NewTracerProvider(export,
		sdktrace.WithSampler(sdktrace.AlwaysSample()),
		sdktrace.WithIDGenerator(messageIDs{}),
		sdktrace.WithResource(resource.NewSchemaless(attribute.String("service.name", "aval"), attribute.String("service.instance.id", process))))
	return &Tracer{provider: provider, tracer: provider.Tracer("github.com/avalhq/aval")}
}

// Message begins a span in the trace of the message, whatever trace ctx is in, and a context that works for the message.
// end takes the error that the work came to.
func (t *Tracer) Message(ctx context.Context, id message.ID, name string) (_ context.Context, end func(error)) {
	ctx = WithMessage(ctx, id)
	if t == nil {
		return ctx, func(error) {}
	}
	return t.begin(ctx, name, trace.WithNewRoot(), trace.WithAttributes(attribute.String("message_id", string(id))))
}

// Span begins a part of ctx's span, or of the message's trace when ctx is in no span yet.
func (t *Tracer) Span(ctx context.Context, name string) (_ context.Context, end func(error)) {
	if t == nil {
		return ctx, func(error) {}
	}
	return t.begin(ctx, name)
}

func (t *Tracer) begin(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, func(error)) {
	ctx, span := t.tracer.Start(ctx, name, options...) //nolint:spancheck // ended by the function that is returned
	return ctx, func(err error) {                      //nolint:spancheck // as above
		if err != nil {
			// The code and not the text, which may hold what a collector is not meant to see.
			span.SetStatus(codes.Error, problem.From(err).Code)
		}
		span.End()
	}
}

// Past records a span of the message's trace that is over already; failure is a problem code or a word for it, "" for none.
func (t *Tracer) Past(id message.ID, name string, begun time.Time, took time.Duration, failure string) {
	if t == nil {
		return
	}
	_, span := t.tracer.Start(WithMessage(context.Background(), id), name, trace.WithTimestamp(begun), trace.WithAttributes(attribute.String("message_id", string(id))))
	if failure != "" {
		span.SetStatus(codes.Error, failure)
	}
	span.End(trace.WithTimestamp(begun.Add(took)))
}

// Close sends what is still waiting to be sent.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

// messageIDs derives trace ids: the spans of one message join in one trace, from all processes and after restarts, with
// nothing handed along, as the trace id is the UUID in the message's id.
type messageIDs struct{}

func (g messageIDs) NewIDs(ctx context.Context) (traceID trace.TraceID, spanID trace.SpanID) {
	id, err := MessageFrom(ctx).UUID()
	if err != nil {
		rand.Read(traceID[:]) // work that is for no message
		return traceID, g.NewSpanID(ctx, traceID)
	}
	return trace.TraceID(id), g.NewSpanID(ctx, trace.TraceID(id))
}

func (messageIDs) NewSpanID(context.Context, trace.TraceID) (id trace.SpanID) {
	rand.Read(id[:])
	return id
}
