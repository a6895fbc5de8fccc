package guarantee

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/avalhq/aval/internal/clients"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/tasktoken"
)

// Workflows is what Guarantee needs to know of workflows: where a message starts. It never looks inside.
type Workflows interface {
	// Begin gives the start of the definition that new messages of a type begin with; the id chooses where there are several.
	Begin(ctx context.Context, messageType string, id message.ID) (Start, error)
	// Again gives the start of the definition that a message is pinned to, for one that stands at place: what it has begun
	// stays known.
	Again(ctx context.Context, ref string, place []byte, parts []Part) (Start, error)
	// Bars tells why a message that stands at place cannot go on with another version of its definition: "" when it can. Without a
	// place it looks whether both are there. Refusals: workflow-unknown.
	Bars(ctx context.Context, from, to string, place []byte, parts []Part) (string, error)
	// Restart begins the stored place's state anew, with no retries spent.
	Restart(ctx context.Context, ref string, place []byte, parts []Part) (Start, error)
}

// Start is where a message begins.
type Start struct {
	Ref   string // name "@" hash
	State string
	Place []byte
	Parts []Part // of the place, those that change

	Abandoned []int // calls that were open in the place before, and are not in this one
}

// Register finds clients.
type Register interface {
	Get(ctx context.Context, id string) (clients.Client, error)
}

// Service is the domain's front: issuing ids, submission, and an operator's acts.
type Service struct {
	Store     Store
	Calls     Calls
	Tokens    *tasktoken.Maker
	Catalog   *message.Catalog
	Domain    func(chain string) (message.Domain, error) // of this installation, for a chain that it serves
	Clients   Register
	Workflows Workflows
	Now       func() time.Time
	Expiry    time.Duration // how long an issued id may be used
}

// Issue gives a client n fresh message ids.
func (s *Service) Issue(ctx context.Context, client string, n int) ([]Issued, error) {
	if _, err := s.client(ctx, client); err != nil {
		return nil, err
	}
	ids := make([]Issued, n)
	now := s.Now()
	for i := range ids {
		ids[i] = Issued{ID: message.NewID(), Client: client, At: now, Expires: now.Add(s.Expiry)}
	}
	return ids, s.Store.Issue(ctx, ids)
}

// Submit verifies a submission and accepts it. The same message again gives the stored record and created false (A1).
func (s *Service) Submit(ctx context.Context, client string, id message.ID, original []byte) (rec Record, created bool, err error) {
	v, err := s.Catalog.Verify(original, s.Domain)
	if err != nil {
		return rec, false, err
	}
	switch {
	case v.ID != id:
		return rec, false, problem.New(problem.Invalid, "message-id-mismatch", "the message was submitted as %s and says that it is %s; submit it under its own id", id, v.ID)
	case v.Client != client:
		return rec, false, ErrUnknown
	}
	who, err := s.client(ctx, client)
	if err != nil {
		return rec, false, err
	}
	if !slices.Contains(who.Signers, v.Signer) {
		return rec, false, problem.New(problem.Forbidden, "signer-unknown", "the message is signed by %s, which does not sign for client %s; sign with a registered key or register this one", v.Signer, client)
	}
	return s.accept(ctx, v)
}

func (s *Service) client(ctx context.Context, id string) (clients.Client, error) {
	who, err := s.Clients.Get(ctx, id)
	if err == nil && who.Disabled {
		err = problem.New(problem.Forbidden, "client-disabled", "client %s is disabled; ask an operator", id)
	}
	return who, err
}

func (s *Service) accept(ctx context.Context, v message.Verified) (Record, bool, error) {
	start, err := s.Workflows.Begin(ctx, v.Type, v.ID)
	if err != nil {
		return Record{}, false, err
	}
	now := s.Now()
	a := Acceptance{
		Record:     Record{Verified: v, Workflow: start.Ref, State: start.State, Status: Running, Place: start.Place, Due: now},
		Attributes: Attributes{Client: v.Client, Type: v.Type, Chain: v.Chain, Signer: v.Signer.Hex()},
	}
	if err := json.Unmarshal(v.Body, &a.Attributes); err != nil { // wallet, to, asset, amount where the type has them
		return Record{}, false, problem.New(problem.Invalid, "message-invalid", "the body of the message has a wallet, to, asset or amount that is not a string")
	}
	a.Attributes.Client, a.Attributes.Type, a.Attributes.Chain, a.Attributes.Signer = v.Client, v.Type, v.Chain, v.Signer.Hex()
	return s.Store.Accept(ctx, a, now)
}

// Get reads one message with its history.
func (s *Service) Get(ctx context.Context, id message.ID) (Record, []Entry, error) {
	return s.Store.Get(ctx, id)
}

// HeldBy begins the reason of a message that somebody has parked.
func HeldBy(by string) string { return "held by " + by + ": " }

// Park holds a message where it stands until an operator resumes it.
func (s *Service) Park(ctx context.Context, id message.ID, by, reason string) error {
	return s.act(ctx, id, by, "parked", reason, func(_ Record, t *Transition) error {
		t.Status, t.Reason = Parked, HeldBy(by)+reason
		return nil
	})
}

// Resume lets a parked message go on where it stood, with no retries spent.
func (s *Service) Resume(ctx context.Context, id message.ID, by string) error {
	return s.act(ctx, id, by, "resumed", "", func(rec Record, t *Transition) error {
		if rec.Status != Parked {
			return notParked(rec)
		}
		start, err := s.Workflows.Restart(ctx, rec.Workflow, rec.Place, rec.Parts)
		if err != nil {
			return err
		}
		t.Status, t.Due, t.Place, t.Parts = Running, s.Now(), start.Place, start.Parts
		return s.abandon(ctx, t, start)
	})
}

// Replay lets a parked message begin its workflow again. Effects that happened are found again, not repeated (I5).
func (s *Service) Replay(ctx context.Context, id message.ID, by string) error {
	return s.act(ctx, id, by, "replayed", "", func(rec Record, t *Transition) error {
		if rec.Status != Parked {
			return notParked(rec)
		}
		start, err := s.Workflows.Again(ctx, rec.Workflow, rec.Place, rec.Parts)
		if err != nil {
			return err
		}
		t.Status, t.Due, t.State, t.Place, t.Parts, t.Ext = Running, s.Now(), start.State, start.Place, start.Parts, nil
		return s.abandon(ctx, t, start)
	})
}

func notParked(rec Record) error {
	return problem.New(problem.Conflict, "message-not-parked", "message %s is %s, not parked; park it first", rec.ID, rec.Status)
}

// act commits an operator's transition on the newest version. It tries again when the message moved meanwhile.
func (s *Service) act(ctx context.Context, id message.ID, by, event, note string, change func(Record, *Transition) error) error {
	for {
		rec, _, err := s.Store.Get(ctx, id)
		if err != nil {
			return err
		}
		if rec.Archived || rec.Status.Terminal() {
			return ErrFinal
		}
		t := Transition{ID: id, From: rec.Version, State: rec.State, Place: rec.Place, Ext: rec.Ext}
		if err := change(rec, &t); err != nil {
			return err
		}
		t.Entries = []Entry{{Version: rec.Version + 1, State: rec.State, Event: event, By: by, At: s.Now(), Note: note}}
		refused, err := s.Store.Commit(ctx, []Transition{t})
		if err != nil {
			return err
		}
		if refused[0] == nil || !errors.Is(refused[0], ErrStale) {
			return refused[0]
		}
	}
}
