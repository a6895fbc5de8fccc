package bus

import (
	"context"
	"time"

	"github.com/avalhq/aval/internal/problem"
)

// ParkedRecord is a record that a group could not use, with all that it was.
type ParkedRecord struct {
	ID int64
	Record
	Group string
	Code  string // why: a problem's code
	Why   string // and its sentence
	At    time.Time
}

// Ending is what an operator did with a parked record.
type Ending string

// The endings.
const (
	Dropped  Ending = "dropped"
	Replayed Ending = "replayed"
)

// Parked is the port to the records that could not be used. They wait for an operator and hold up nothing (I18).
//
// Durability: what returned nil is on stable storage. Ordering: List goes by the order of parking. Consistency: a record that a
// group reads again is parked once; another record at the same offset, of a topic that was made anew, is another one. Nothing is
// ever deleted: what has ended is listed no more. Fault points, ".before" and ".after" each: parked.park, parked.end. Its
// conformance suite is bustest.
type Parked interface {
	// Park keeps records and says how many were not parked before. ID and At are given here.
	Park(ctx context.Context, records []ParkedRecord) (fresh int, err error)
	// List gives the records after that id, at most limit of them.
	List(ctx context.Context, after int64, limit int) ([]ParkedRecord, error)
	// Get gives one that has not ended: parked-unknown otherwise.
	Get(ctx context.Context, id int64) (ParkedRecord, error)
	// End notes what was done with a record, and by whom: parked-unknown when there is none, or it has ended.
	End(ctx context.Context, id int64, how Ending, by string) error
	// Count says how many there are, for metrics.
	Count(ctx context.Context) (int64, error)
}

// ErrNotParked says that no parked record has this id, or that an operator has dealt with it.
var ErrNotParked = problem.New(problem.NotFound, "parked-unknown", "there is no such parked record")
