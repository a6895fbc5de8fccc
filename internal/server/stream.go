package server

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// writing is how long a follower may take to receive one event before it is dropped.
const writing = 10 * time.Second

// stream writes server-sent events to one follower.
type stream struct {
	w   http.ResponseWriter
	rc  *http.ResponseController
	buf bytes.Buffer
}

// open sends the headers. From here on a failure can only end the stream.
func open(hctx huma.Context) *stream {
	_, w := humago.Unwrap(hctx)
	st := &stream{w: w, rc: http.NewResponseController(w)}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	return st
}

// send writes one event and flushes it.
func (st *stream) send(id int64, name string, data any) error {
	encoded, err := json.Marshal(data)
	if err != nil {
		return err
	}
	st.buf.Reset()
	st.buf.WriteString("id: ")
	st.buf.WriteString(strconv.FormatInt(id, 10))
	st.buf.WriteString("\nevent: ")
	st.buf.WriteString(name)
	st.buf.WriteString("\ndata: ")
	st.buf.Write(encoded) // JSON has no line breaks outside of strings, and escapes them inside
	st.buf.WriteString("\n\n")
	return st.flush()
}

// beat is a sign of life: a comment, which followers ignore.
func (st *stream) beat() error {
	st.buf.Reset()
	st.buf.WriteString(":\n\n")
	return st.flush()
}

func (st *stream) flush() error {
	_ = st.rc.SetWriteDeadline(time.Now().Add(writing)) // a writer without deadlines has none to move
	if _, err := st.w.Write(st.buf.Bytes()); err != nil {
		return err
	}
	return st.rc.Flush()
}

// following runs a stream in a slot of the caller's: until the follower leaves, its token expires or the server stops.
func (s *Server) following(ctx context.Context, run func(context.Context, *stream)) (*huma.StreamResponse, error) {
	who := callerOf(ctx)
	release, err := s.streams.take(who.Subject)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		defer release()
		ctx, cancel := context.WithDeadline(ctx, who.Expires)
		defer cancel()
		defer context.AfterFunc(s.stopping, cancel)()
		run(ctx, open(hctx))
	}}, nil
}

// allowed says whether the follower's client is still in the register: a stream outlives the request that was checked (A22).
func (s *Server) allowed(ctx context.Context) bool {
	c := callerOf(ctx)
	if c.client == "" {
		return true
	}
	err := s.active(ctx, c.client)
	return err == nil
}

// streamed documents a stream.
func streamed(op huma.Operation, schema *huma.Schema) huma.Operation {
	op.Responses = map[string]*huma.Response{"200": {
		Description: "A stream of server-sent events; the data of each is JSON.",
		Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: schema}},
	}}
	return op
}
