package message

import (
	"github.com/google/uuid"

	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/typeid"
)

// Prefix is what every message id starts with.
const Prefix = "msg"

// ID names a message: "msg_" and a UUIDv7 in Crockford base32, 30 characters. Ids sort by time of issue.
type ID string

// NewID makes a fresh id.
func NewID() ID { return ID(typeid.New(Prefix)) }

// ParseID checks the form of an id.
func ParseID(s string) (ID, error) {
	if _, err := typeid.Parse(Prefix, s); err != nil {
		return "", problem.New(problem.Invalid, "message-id-malformed", "the message id is malformed: %w; ids are issued by POST /v1/message-ids", err)
	}
	return ID(s), nil
}

// UUID is the id's UUIDv7.
func (id ID) UUID() (uuid.UUID, error) { return typeid.Parse(Prefix, string(id)) }
