package referencetest

import (
	"slices"
	"testing"

	"github.com/avalhq/aval/internal/conform"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/reference"
)

// SourceSubject is a Guarantee that holds messages, live and archived, with all of them as they have to be read.
type SourceSubject struct {
	reference.Source
	Want []guarantee.Snapshot
}

// RunSource runs the suite of Source. The subject needs at least three live messages and three archived ones.
func RunSource(t *testing.T, open func(t *testing.T) SourceSubject) {
	s := open(t)
	slices.SortFunc(s.Want, byID)
	const reads = "it only reads; what it reads beside writers is in the suite of guarantee.Store"
	conform.Suite[SourceSubject]{
		Cases: map[string]func(*testing.T, SourceSubject){
			"basic/a scan gives every message":                scanned,
			"basic/messages are read by id, live or archived": readByID,
		},
		Lacks: map[conform.Tier]string{conform.Transactions: reads, conform.Concurrency: reads, conform.Faults: reads},
	}.Run(t, func(*testing.T) SourceSubject { return s })
}

func scanned(t *testing.T, s SourceSubject) {
	for _, limit := range []int{1, 2, 3, 1000} {
		var got []guarantee.Snapshot
		archived := false
		for from, ended := "", false; !ended; {
			page, next, err := s.Scan(t.Context(), from, limit)
			if err != nil || len(page) > limit {
				t.Fatalf("scan from %q: %d messages, %v", from, len(page), err)
			}
			for i, snap := range page {
				if archived && !snap.Archived || !archived && !snap.Archived && i > 0 && page[i-1].ID >= snap.ID {
					t.Errorf("%s is out of order", snap.ID)
				}
				archived = snap.Archived
			}
			got, from, ended = append(got, page...), next, next == ""
		}
		slices.SortFunc(got, byID)
		equal(t, got, s.Want)
	}
}

func readByID(t *testing.T, s SourceSubject) {
	ids := []message.ID{message.NewID()}
	for _, snap := range s.Want {
		ids = append(ids, snap.ID)
	}
	got, err := s.Snapshots(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(got, byID)
	equal(t, got, s.Want)
}
