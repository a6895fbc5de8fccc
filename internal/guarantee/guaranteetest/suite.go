// Package guaranteetest is the conformance suite of guarantee.Store, guarantee.Definitions and guarantee.Calls. Every backend runs it whole.
package guaranteetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/avalhq/aval/internal/conform"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
)

// Backend is one instance under test.
type Backend struct {
	Store       guarantee.Store
	Definitions guarantee.Definitions
	Calls       guarantee.Calls
	Faults      *fault.Points
	// Reopen ends this instance as a crash would and opens the same data again.
	Reopen func(t *testing.T) Backend
}

// Run checks all of the contract against fresh instances from open.
func Run(t *testing.T, open func(t *testing.T) Backend) {
	t.Helper()
	conform.Suite[Backend]{
		Cases: map[string]func(*testing.T, Backend){
			"basic/AcceptedIsReadBack":        acceptedIsReadBack,
			"basic/A1SameAgain":               sameAgain,
			"basic/A2OtherBody":               otherBody,
			"basic/A7AnotherClientsID":        anotherClientsID,
			"basic/A8ExpiredOrNeverIssued":    expiredOrNeverIssued,
			"basic/LongExpiredIsForgotten":    longExpiredIsForgotten,
			"basic/CommitMovesAndTells":       commitMovesAndTells,
			"basic/ArchiveKeepsEverything":    archiveKeepsEverything,
			"basic/ScanMeetsAll":              scanMeetsAll,
			"basic/PartsAreKept":              partsAreKept,
			"basic/PartsGoAtTheEnd":           partsGoAtTheEnd,
			"basic/Definitions":               definitions,
			"basic/Aliases":                   aliases,
			"basic/PinnedAnew":                pinnedAnew,
			"transactions/StaleIsRefused":     staleIsRefused,
			"transactions/FinalIsFinal":       finalIsFinal,
			"transactions/RefusedAlone":       refusedAlone,
			"transactions/PartsWithTheirMove": partsWithTheirMove,
			"transactions/Postpone":           postpone,
			"concurrency/OneAcceptance":       oneAcceptance,
			"concurrency/OneSwapWins":         oneSwapWins,
			"concurrency/Linearizable":        linearizable,
			"faults/FailedIsNotStored":        failedIsNotStored,
			"faults/PartsWithTheirCommit":     partsWithTheirCommit,
			"faults/ReportedFailedPersisted":  reportedFailedPersisted,
			"basic/CallIsAnswered":            callIsAnswered,
			"basic/CallIsHeardOf":             callIsHeardOf,
			"basic/CallIsOver":                callIsOver,
			"basic/CallIsUnknown":             callIsUnknown,
			"transactions/AnswerMakesDue":     answerMakesDue,
			"transactions/UnseenAnswer":       unseenAnswer,
			"concurrency/AnswerOrTimeout":     answerOrTimeout,
			"concurrency/OneAnswer":           oneAnswer,
			"faults/AnswerFailed":             answerFailed,
		},
		Parallel: true,
	}.Run(t, open)
}

var clock = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// Issue makes an id for the client in the store.
func Issue(t *testing.T, s guarantee.Store, client string) message.ID {
	t.Helper()
	id := message.NewID()
	must(t, s.Issue(t.Context(), []guarantee.Issued{{ID: id, Client: client, Expires: clock.Add(time.Hour)}}))
	return id
}

// Acceptance makes a message as the service would hand it to Accept.
func Acceptance(id message.ID, client, text string) guarantee.Acceptance {
	body, _ := json.Marshal(map[string]string{"text": text})
	original := []byte(fmt.Sprintf(`{"payload": {"id": %q, "body": %s}}`, id, body))
	return guarantee.Acceptance{
		Record: guarantee.Record{
			Verified: message.Verified{
				Message: message.Message{ID: id, Type: "note.v1", Client: client, Chain: "eip155:1337", Expires: clock.Add(time.Hour), Body: body},
				Scheme:  message.EIP191, Digest: crypto.Keccak256Hash(original), Signer: common.HexToAddress("0x01"), Original: original,
			},
			Workflow: "note.v1@0011223344556677", State: "Validate", Status: guarantee.Running, Place: []byte(`{"v":1}`), Due: clock,
		},
		Attributes: guarantee.Attributes{Client: client, Type: "note.v1", Chain: "eip155:1337", Signer: "0x01", Amount: "12"},
	}
}

// Accept issues an id and stores a message under it.
func Accept(t *testing.T, s guarantee.Store, client, text string) guarantee.Record {
	t.Helper()
	rec, created, err := s.Accept(t.Context(), Acceptance(Issue(t, s, client), client, text), clock)
	must(t, err)
	if !created {
		t.Fatal("the first acceptance was reported as a repetition")
	}
	return rec
}

// Step is a transition to the next state.
func Step(rec guarantee.Record, state string, status guarantee.Status) guarantee.Transition {
	t := guarantee.Transition{
		ID: rec.ID, From: rec.Version, State: state, Status: status, Place: []byte(`{"v":1,"s":"x"}`), Ext: json.RawMessage(`{"a":1}`),
		Entries: []guarantee.Entry{{Version: rec.Version + 1, State: rec.State, Event: "succeeded", By: "test", At: clock.Add(time.Second)}},
	}
	if status == guarantee.Waiting {
		t.Due = clock.Add(time.Minute)
	}
	return t
}

func acceptedIsReadBack(t *testing.T, b Backend) {
	rec := Accept(t, b.Store, "cli_a", "hello")
	b = b.Reopen(t)
	got, history, err := b.Store.Get(t.Context(), rec.ID)
	must(t, err)
	want := Acceptance(rec.ID, "cli_a", "hello")
	if string(got.Original) != string(want.Original) || string(got.Body) != string(want.Body) || got.Digest != want.Digest || got.Signer != want.Signer {
		t.Errorf("I1: read back %+v, want %+v", got.Verified, want.Verified)
	}
	if got.Ext != nil || got.Version != 1 || got.State != "Validate" || got.Status != guarantee.Running || !got.Accepted.Equal(clock) || !got.Expires.Equal(want.Expires) || got.Workflow != want.Workflow {
		t.Errorf("read back %+v", got)
	}
	if len(history) != 1 || history[0].Event != "accepted" || history[0].Version != 1 {
		t.Errorf("the history is %+v", history)
	}
}

func sameAgain(t *testing.T, b Backend) {
	rec := Accept(t, b.Store, "cli_a", "hello")
	for _, archived := range []bool{false, true} {
		got, created, err := b.Store.Accept(t.Context(), Acceptance(rec.ID, "cli_a", "hello"), clock.Add(48*time.Hour))
		must(t, err)
		if created || got.Digest != rec.Digest || got.Archived != archived || !got.Accepted.Equal(clock) {
			t.Errorf("archived %v: again gave created %v, %+v", archived, created, got)
		}
		if !archived {
			finish(t, b.Store, rec)
		}
	}
}

func otherBody(t *testing.T, b Backend) {
	rec := Accept(t, b.Store, "cli_a", "hello")
	for range 2 {
		_, _, err := b.Store.Accept(t.Context(), Acceptance(rec.ID, "cli_a", "other"), clock)
		want(t, err, guarantee.ErrReused)
		got, _, err := b.Store.Get(t.Context(), rec.ID)
		must(t, err)
		if string(got.Original) != string(rec.Original) {
			t.Fatal("I3: the original has changed")
		}
		if !got.Archived {
			finish(t, b.Store, rec)
		}
	}
}

func anotherClientsID(t *testing.T, b Backend) {
	id := Issue(t, b.Store, "cli_a")
	_, _, err := b.Store.Accept(t.Context(), Acceptance(id, "cli_b", "mine now"), clock)
	want(t, err, guarantee.ErrUnknown)
	rec := Accept(t, b.Store, "cli_a", "hello")
	_, _, err = b.Store.Accept(t.Context(), Acceptance(rec.ID, "cli_b", "hello"), clock)
	want(t, err, guarantee.ErrUnknown)
}

func expiredOrNeverIssued(t *testing.T, b Backend) {
	_, _, err := b.Store.Accept(t.Context(), Acceptance(message.NewID(), "cli_a", "x"), clock)
	want(t, err, guarantee.ErrUnknown)
	id := Issue(t, b.Store, "cli_a")
	_, _, err = b.Store.Accept(t.Context(), Acceptance(id, "cli_a", "x"), clock.Add(time.Hour+time.Second))
	want(t, err, guarantee.ErrExpired)
	_, _, err = b.Store.Get(t.Context(), id)
	want(t, err, guarantee.ErrUnknown)
}

func longExpiredIsForgotten(t *testing.T, b Backend) {
	id := Issue(t, b.Store, "cli_a")
	year := clock.AddDate(1, 0, 0)
	must(t, b.Store.Issue(t.Context(), []guarantee.Issued{{ID: message.NewID(), Client: "cli_a", At: clock, Expires: year}}))
	_, _, err := b.Store.Accept(t.Context(), Acceptance(id, "cli_a", "x"), clock.Add(2*time.Hour)) // ids that live long forget nothing sooner
	want(t, err, guarantee.ErrExpired)
	must(t, b.Store.Issue(t.Context(), []guarantee.Issued{{ID: message.NewID(), Client: "cli_a", At: year, Expires: year.Add(time.Hour)}}))
	_, _, err = b.Store.Accept(t.Context(), Acceptance(id, "cli_a", "x"), year)
	want(t, err, guarantee.ErrUnknown)
}

func commitMovesAndTells(t *testing.T, b Backend) {
	rec := Accept(t, b.Store, "cli_a", "hello")
	tr := Step(rec, "Next", guarantee.Waiting)
	tr.Entries = append(tr.Entries, guarantee.Entry{Version: 3, State: "Other", Event: "passed", By: "test", At: clock.Add(2 * time.Second), Note: "a note"})
	commit(t, b.Store, tr)
	b = b.Reopen(t)
	got, history, err := b.Store.Get(t.Context(), rec.ID)
	must(t, err)
	if got.Version != 3 || got.State != "Next" || got.Status != guarantee.Waiting || string(got.Ext) != `{"a":1}` || string(got.Place) != string(tr.Place) || !got.Due.Equal(tr.Due) {
		t.Errorf("after the commit: %+v", got)
	}
	if len(history) != 3 || history[2].Note != "a note" || history[2].Version != 3 {
		t.Errorf("the history is %+v", history)
	}
	loaded, err := b.Store.Load(t.Context(), []message.ID{rec.ID, message.NewID()})
	must(t, err)
	if len(loaded) != 1 || loaded[0].Version != 3 {
		t.Errorf("Load gave %+v", loaded)
	}
}

func finish(t *testing.T, s guarantee.Store, rec guarantee.Record) {
	t.Helper()
	tr := Step(rec, "Done", guarantee.Succeeded)
	tr.Archive = true
	commit(t, s, tr)
}

func archiveKeepsEverything(t *testing.T, b Backend) {
	rec := Accept(t, b.Store, "cli_a", "hello")
	finish(t, b.Store, rec)
	b = b.Reopen(t)
	got, history, err := b.Store.Get(t.Context(), rec.ID)
	must(t, err)
	if !got.Archived || got.Status != guarantee.Succeeded || got.Version != 2 || string(got.Original) != string(rec.Original) || string(got.Ext) != `{"a":1}` || len(history) != 2 {
		t.Errorf("archived: %+v, history %+v", got, history)
	}
	loaded, err := b.Store.Load(t.Context(), []message.ID{rec.ID})
	must(t, err)
	if len(loaded) != 0 {
		t.Error("an archived message is still live")
	}
}

func scanMeetsAll(t *testing.T, b Backend) {
	want := map[message.ID]bool{}
	for i := range 7 {
		rec := Accept(t, b.Store, "cli_a", fmt.Sprint(i))
		want[rec.ID] = i%2 == 0
		if i%2 == 0 {
			finish(t, b.Store, rec)
		}
	}
	seen := map[message.ID]bool{}
	for from := ""; ; {
		page, next, err := b.Store.Scan(t.Context(), from, 2)
		must(t, err)
		for _, s := range page {
			seen[s.ID] = s.Archived
			if s.Attributes.Amount != "12" {
				t.Errorf("the attributes are %+v", s.Attributes)
			}
		}
		if from = next; next == "" {
			break
		}
	}
	if fmt.Sprint(seen) != fmt.Sprint(want) {
		t.Errorf("scanned %v, want %v", seen, want)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("got %v, want %v", err, target)
	}
}

func commit(t *testing.T, s guarantee.Store, ts ...guarantee.Transition) {
	t.Helper()
	refused, err := s.Commit(t.Context(), ts)
	must(t, err)
	for _, r := range refused {
		must(t, r)
	}
}

func together(n int, do func(i int)) {
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() { do(i) })
	}
	group.Wait()
}
