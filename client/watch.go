package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Watch gives the steps of a message: those that were taken, then each as it happens, until the message is final, ctx ends
// or the caller breaks off. Steps come in order, none twice. A connection that breaks is made again where it broke.
func (c *Client) Watch(ctx context.Context, id string) iter.Seq2[Step, error] {
	return func(yield func(Step, error) bool) {
		err := c.follow(ctx, path(id)+"/events", 0, func(f frame) (bool, error) {
			if f.name != "step" {
				return f.name != "end", nil
			}
			var step Step
			if err := json.Unmarshal(f.data, &step); err != nil {
				return false, fmt.Errorf("the stream of %s is not what this version of the SDK knows: %w", id, err)
			}
			return yield(step, nil), nil
		})
		if err != nil {
			yield(Step{}, err)
		}
	}
}

// Wait follows a message until it is final, or parked and so waits for a person, and gives it as it is then.
func (c *Client) Wait(ctx context.Context, id string) (Record, error) {
	for step, err := range c.Watch(ctx, id) {
		if err != nil {
			return Record{}, err
		}
		if step.Status == Parked {
			rec, err := c.Get(ctx, id)
			if err != nil || rec.Status == Parked || rec.Status.Final() {
				return rec, err
			}
		}
	}
	return c.Get(ctx, id)
}

// Event says that a message has moved.
type Event struct {
	Seq    int64 // grows; give the last one to Events to go on after it
	Gap    bool  // what came before this is no longer held: list the messages to catch up; Record is empty
	Record Record
}

// Events gives the moves of all of the caller's messages, of everybody's for operators: from now on for after 0, else those
// after that Seq too. It lasts until ctx ends or the caller breaks off.
func (c *Client) Events(ctx context.Context, after int64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		err := c.follow(ctx, "/v1/events", after, func(f frame) (bool, error) {
			e := Event{Seq: f.id, Gap: f.name == "gap"}
			if f.name == "message" {
				if err := json.Unmarshal(f.data, &e.Record); err != nil {
					return false, fmt.Errorf("the stream of events is not what this version of the SDK knows: %w", err)
				}
			}
			return yield(e, nil), nil
		})
		if err != nil {
			yield(Event{}, err)
		}
	}
}

// frame is one server-sent event.
type frame struct {
	id   int64
	name string
	data []byte
}

// follow reads a stream until take has enough. It reconnects after the last id, in growing pauses while nothing comes.
func (c *Client) follow(ctx context.Context, path string, last int64, take func(frame) (more bool, err error)) error {
	for failures := 0; ; {
		before := last
		done, err := c.read(ctx, path, &last, take)
		if done || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if err != nil && !passing(err) {
			return err
		}
		if failures++; last > before {
			failures = 1
		}
		if err := wait(ctx, c.delay(failures, err)); err != nil {
			return err
		}
	}
}

// read reads one connection's part of a stream. done says that take has had enough, or has failed.
func (c *Client) read(ctx context.Context, path string, last *int64, take func(frame) (bool, error)) (done bool, err error) {
	header := http.Header{"Accept": {"text/event-stream"}}
	if *last > 0 {
		header.Set("Last-Event-ID", strconv.FormatInt(*last, 10))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the connection, whose stream has no end of its own
	response, err := c.send(ctx, call{method: http.MethodGet, path: path}, header)
	if err != nil {
		return false, err
	}
	defer func() { _ = response.Body.Close() }() // nothing is lost by it
	silent := time.AfterFunc(c.patience, cancel)
	defer silent.Stop()
	lines := bufio.NewReaderSize(&heard{response.Body, silent, c.patience}, 16<<10)
	for {
		f, err := next(lines)
		if err != nil {
			return false, &unreachable{err}
		}
		more, err := take(f)
		if !more || err != nil {
			return true, err
		}
		*last = max(*last, f.id)
	}
}

// heard puts the end of a silent connection off whenever something comes, be it a comment.
type heard struct {
	io.Reader
	end      *time.Timer
	patience time.Duration
}

func (h *heard) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	h.end.Reset(h.patience)
	return n, err
}

// next reads an event; comments and fields that are not used are passed over.
func next(lines *bufio.Reader) (frame, error) {
	var f frame
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return f, err
		}
		line = strings.TrimRight(line, "\r\n")
		if line == "" && f.data != nil {
			return f, nil
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "id":
			if id, err := strconv.ParseInt(value, 10, 64); err == nil {
				f.id = id
			}
		case "event":
			f.name = value
		case "data":
			if f.data != nil {
				f.data = append(f.data, '\n')
			}
			f.data = append(f.data, value...)
		}
	}
}
