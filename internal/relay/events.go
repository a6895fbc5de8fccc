package relay

import (
	"context"
	"fmt"
	"strconv"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/avalhq/aval/internal/bus"
	"github.com/avalhq/aval/internal/event"
	"github.com/avalhq/aval/internal/guarantee"
)

// Events is the source of what has happened to messages, as CloudEvents 1.0 in JSON (https://cloudevents.io): one for each commit
// that moved a message. Source and id together are the same however often an event is relayed.
type Events struct {
	Outbox  event.Outbox
	Address string // of the installation, its contract in the signing domain: the source attribute is urn:aval:ADDRESS
}

// Moved is the data of an event: where the message stands since then.
type Moved struct {
	ID       string           `json:"id"`
	Version  int64            `json:"version"`
	State    string           `json:"state"`
	Status   guarantee.Status `json:"status"`
	Reason   string           `json:"reason,omitempty"`
	Archived bool             `json:"archived"`
	Accepted time.Time        `json:"accepted"`
	Updated  time.Time        `json:"updated"`
	guarantee.Attributes
}

// EventType is the type attribute of all events of messages.
const EventType = "com.github.avalhq.aval.message.moved.v1"

// contentType is of a CloudEvent in JSON, as its Kafka binding names it.
const contentType = "application/cloudevents+json; charset=UTF-8"

// Name is the cursor's.
func (e *Events) Name() string { return bus.Events }

// Read waits for events. Those of one message keep their order.
func (e *Events) Read(ctx context.Context, after int64, limit int) (Batch, error) {
	events, err := e.Outbox.Read(ctx, after, limit)
	if err != nil || len(events) == 0 {
		return Batch{}, err
	}
	batch := Batch{Records: make([]bus.Record, len(events)), Seq: events[len(events)-1].Seq, Oldest: events[0].Updated}
	for i := range events {
		if batch.Records[i], err = e.record(&events[i]); err != nil {
			return batch, err
		}
	}
	return batch, nil
}

func (e *Events) record(was *event.Event) (bus.Record, error) {
	told := cloudevents.New()
	told.SetID(string(was.ID) + "/" + strconv.FormatInt(was.Version, 10))
	told.SetSource("urn:aval:" + e.Address)
	told.SetType(EventType)
	told.SetSubject(string(was.ID))
	told.SetTime(was.Updated)
	err := told.SetData(cloudevents.ApplicationJSON, Moved{
		string(was.ID), was.Version, was.State, was.Status, was.Reason, was.Archived, was.Accepted, was.Updated, was.Attributes,
	})
	if err == nil {
		err = told.Validate()
	}
	if err != nil {
		return bus.Record{}, fmt.Errorf("describe version %d of message %s as a CloudEvent: %w", was.Version, was.ID, err)
	}
	value, err := told.MarshalJSON()
	return bus.Record{Topic: bus.Events, Key: string(was.ID), Value: value, Headers: map[string]string{"content-type": contentType}}, err
}
