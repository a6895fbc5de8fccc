package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
)

// NewLogger writes JSON lines of at least this level to w, with the context's message id and without secrets.
func NewLogger(w io.Writer, level slog.Leveler) *slog.Logger {
	lines := slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: redact})
	return slog.New(handler{lines})
}

// Level reads debug, info, warn or error.
func Level(name string) (slog.Level, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(name)); err != nil {
		return 0, fmt.Errorf("there is no log level %q; set debug, info, warn or error", name)
	}
	return level, nil
}

// handler adds the correlation id; redaction is the wrapped handler's ReplaceAttr.
type handler struct{ slog.Handler }

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	if id := MessageFrom(ctx); id != "" {
		r.AddAttrs(slog.String("message_id", string(id)))
	}
	return h.Handler.Handle(ctx, r)
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(attrs)}
}

func (h handler) WithGroup(name string) slog.Handler { return handler{h.Handler.WithGroup(name)} }
