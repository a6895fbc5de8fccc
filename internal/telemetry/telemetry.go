// Package telemetry is what Aval tells about itself: logs, metrics and traces, tied together by the message id.
//
// Everything is made by a constructor and handed down; nothing is global. Logs are JSON lines (NewLogger) that carry the
// message id of their context and never a secret (I25, A29). Metrics are Prometheus's (NewMetrics); traces OpenTelemetry's
// (NewTracer), one a message, whose trace id is the message id's UUID. *Metrics and *Tracer work as nil, doing nothing, so
// that rooms and their tests need no telemetry; rooms depend on it through interfaces or hooks of their own.
//
// Telemetry decides nothing: no workflow, lease or health of money hangs on it. Health checks are in the package below.
package telemetry

import (
	"context"
	"time"

	"github.com/avalhq/aval/internal/message"
)

type messageKey struct{}

// WithMessage names the message that the context's work is for: log lines get it as "message_id", spans join its trace.
func WithMessage(ctx context.Context, id message.ID) context.Context {
	return context.WithValue(ctx, messageKey{}, id)
}

// MessageFrom is the message that ctx works for, or "".
func MessageFrom(ctx context.Context) message.ID {
	id, _ := ctx.Value(messageKey{}).(message.ID)
	return id
}

// Every calls fn at once and then at each interval until ctx ends: the service that samples gauges. What fn cannot read
// now it reads the next time, so it returns nothing.
func Every(ctx context.Context, interval time.Duration, fn func(context.Context)) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		fn(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
