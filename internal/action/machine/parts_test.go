package machine

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// store holds a place and its parts as Guarantee does.
type store struct {
	place []byte
	parts map[string]string
}

func (s *store) keep(m Move) (written int) {
	s.place, written = m.Place.Encode(), len(m.Place.Encode())
	for _, p := range m.Place.Parts(m.Changes) {
		if p.Data != nil {
			s.parts[p.Key] = string(p.Data)
			written += len(p.Key) + len(p.Data)
			continue
		}
		for key := range s.parts {
			if strings.HasPrefix(key, p.Key) {
				delete(s.parts, key)
			}
		}
	}
	return written
}

func (s *store) read(t *testing.T) Place {
	t.Helper()
	var parts []Part
	for _, key := range sorted(s.parts) {
		parts = append(parts, Part{key, []byte(s.parts[key])})
	}
	p, err := DecodePlace(s.place, parts)
	if err != nil {
		t.Fatalf("%v: %s %v", err, s.place, s.parts)
	}
	return p
}

const fan = `
StartAt: Fan
States:
  Fan:
    Type: Parallel
    Branches:
      - {StartAt: Pay, States: {Pay: {Type: Task, Resource: effect, End: true, Catch: [{ErrorEquals: [States.ALL], ResultPath: $.e, Next: Sleep}]}, Sleep: {Type: Wait, Seconds: 5, End: true}}}
      - StartAt: Each
        States:
          Each:
            Type: Map
            ItemsPath: $.list
            MaxConcurrency: 2
            ItemProcessor: {StartAt: Tell, States: {Tell: {Type: Task, Resource: pure, End: true}}}
            End: true
    Next: Last
  Last: {Type: Task, Resource: pure, End: true}
`

func fanned(t *testing.T) (*Definition, Env) {
	t.Helper()
	d, err := Load("fan.v1", []byte(fan), actions)
	if err != nil {
		t.Fatal(err)
	}
	return d, Env{Now: start, Body: json.RawMessage(`{"list":[1,2,3]}`), Message: func() any { return nil }}
}

func states(runs []Run) (names []string) {
	for _, r := range runs {
		names = append(names, r.State)
	}
	return names
}

func wants(t *testing.T, m Move, names ...string) {
	t.Helper()
	if got := states(m.Runs); !slices.Equal(got, names) {
		t.Fatalf("it asks for %v, want %v: %s", got, names, show(m))
	}
}

// TestBranchesAskAtOnceAndEachWaitsForItself: a Move asks for what all branches have come to, an answer moves its own branch,
// and the earliest of their times is waited for.
func TestBranchesAskAtOnceAndEachWaitsForItself(t *testing.T) {
	d, env := fanned(t)
	s := &store{parts: map[string]string{}}
	m := d.Next(d.Start(), nil, Event{}, env)
	s.keep(m)
	wants(t, m, "Fan/0/Pay", "Fan/1/Each/0/Tell", "Fan/1/Each/1/Tell")
	if want := []string{"b/Fan/0/Pay", "f/0/", "f/1/", "f/1/0/", "f/1/1/"}; !slices.Equal(sorted(s.parts), want) {
		t.Errorf("stored are %v, want %v", s.parts, want)
	}
	m = d.Next(s.read(t), nil, Event{Kind: Succeeded, State: "Fan/1/Each/1/Tell", Output: json.RawMessage("22")}, env)
	wants(t, m, "Fan/1/Each/2/Tell")
	if parts := m.Place.Parts(m.Changes); len(parts) > 3 {
		t.Errorf("one answer has changed %d parts: %q", len(parts), parts)
	}
	s.keep(m)
	m = d.Next(m.Place, nil, Event{Kind: Failed, State: "Fan/0/Pay", Error: "x"}, env)
	s.keep(m)
	if wants(t, m); !m.Wait.Equal(start.Add(5 * time.Second)) {
		t.Errorf("it waits until %s", m.Wait)
	}
	m = d.Next(m.Place, nil, Event{Kind: Failed, State: "Fan/0/Pay", Error: "late"}, env) // of somebody who did not know
	if wants(t, m); len(m.Visits) != 0 {
		t.Errorf("a stale answer has done %+v", m.Visits)
	}
	m = d.Next(s.read(t), nil, Event{Kind: Fed}, env) // after a crash
	wants(t, m, "Fan/1/Each/0/Tell", "Fan/1/Each/2/Tell")
	env.Now = start.Add(5 * time.Second)
	m = d.Next(m.Place, nil, Event{Kind: Due}, env)
	s.keep(m)
	wants(t, m)
	for _, n := range []int{0, 2} {
		m = d.Next(m.Place, nil, Event{Kind: Succeeded, State: fmt.Sprintf("Fan/1/Each/%d/Tell", n), Output: json.RawMessage("1")}, env)
		s.keep(m)
	}
	if wants(t, m, "Last"); string(m.Place.Input) != `[{"e":{"Cause":"","Error":"x"},"list":[1,2,3]},[1,22,1]]` {
		t.Errorf("the results are %s", m.Place.Input)
	}
	if want := []string{"b/Fan/0/Pay"}; !slices.Equal(sorted(s.parts), want) {
		t.Errorf("after the branches there are still %v, want %v", s.parts, want)
	}
	if again := s.read(t); !again.Begun.Has("Fan/0/Pay") {
		t.Error("I5: it is forgotten that the effect was begun")
	}
}

// TestAMoveChangesNoInput: two answers, each to the same place, do not see one another.
func TestAMoveChangesNoInput(t *testing.T) {
	d, env := fanned(t)
	first := d.Next(d.Start(), nil, Event{}, env).Place
	before := fmt.Sprintf("%s %q", first.Encode(), first.AllParts())
	one := Event{Kind: Succeeded, State: "Fan/1/Each/0/Tell", Output: json.RawMessage("1")}
	m := d.Next(first, nil, one, env)
	d.Next(first, nil, Event{Kind: Failed, State: "Fan/1/Each/0/Tell", Error: "x"}, env)
	if after := fmt.Sprintf("%s %q", first.Encode(), first.AllParts()); after != before {
		t.Errorf("the place was\n%s\nand is\n%s", before, after)
	}
	again := d.Next(first, nil, one, env)
	if a, b := fmt.Sprintf("%q", m.Place.AllParts()), fmt.Sprintf("%q", again.Place.AllParts()); a != b {
		t.Errorf("the same event gave\n%s\nand\n%s", a, b)
	}
}

// TestAFailingBranchDropsTheOthers: their answers do not count, nothing is left of them, and what they have begun stays known.
func TestAFailingBranchDropsTheOthers(t *testing.T) {
	d, env := fanned(t)
	s := &store{parts: map[string]string{}}
	m := d.Next(d.Start(), nil, Event{}, env)
	s.keep(m)
	m = d.Next(m.Place, nil, Event{Kind: Failed, State: "Fan/1/Each/0/Tell", Error: "x"}, env)
	s.keep(m)
	if m.Done == nil || !m.Done.Uncaught || !slices.Contains(m.Dropped, "Fan/") || len(m.Runs) != 0 {
		t.Errorf("a branch has failed: %s", show(m))
	}
	if want := []string{"b/Fan/0/Pay"}; !slices.Equal(sorted(s.parts), want) {
		t.Errorf("there are still %v, want %v", s.parts, want)
	}
}

// TestPlacesOfFormat1AreRead: as earlier versions stored them, with their branches and results in one piece; the first commit
// takes them apart.
func TestPlacesOfFormat1AreRead(t *testing.T) {
	d, env := fanned(t)
	old := `{"v":1,"s":"Fan","p":"r","a":1,"e":5,"f":{"t":2,"s":2,"n":1,"b":[{"i":1,"p":{"v":0,"s":"Each","p":"r","i":{"list":[1,2,3]},"a":1,"e":7,` +
		`"f":{"t":3,"s":2,"n":1,"b":[{"i":1,"p":{"v":0,"s":"Tell","p":"r","i":2,"a":1,"e":8}}],"r":[11,null,null]}}}],"r":[{"paid":true},null]},"b":["Fan/0/Pay"]}`
	s := &store{place: []byte(old), parts: map[string]string{}}
	m := d.Next(s.read(t), nil, Event{Kind: Fed}, env)
	wants(t, m, "Fan/1/Each/1/Tell", "Fan/1/Each/2/Tell")
	if !m.Runs[0].Resumed || m.Runs[1].Resumed || !slices.Contains(m.Runs[0].Begun, "Fan/0/Pay") {
		t.Errorf("it asks for %+v", m.Runs)
	}
	s.keep(m)
	if want := []string{"f/0/", "f/1/", "f/1/0/", "f/1/1/", "f/1/2/"}; !slices.Equal(sorted(s.parts), want) || strings.Contains(string(s.place), "list") {
		t.Errorf("it was taken apart into %s and %v", s.place, s.parts)
	}
	for _, n := range []int{1, 2} {
		m = d.Next(s.read(t), nil, Event{Kind: Succeeded, State: fmt.Sprintf("Fan/1/Each/%d/Tell", n), Output: json.RawMessage("0")}, env)
		s.keep(m)
	}
	if wants(t, m, "Last"); string(m.Place.Input) != `[{"paid":true},[11,0,0]]` || len(s.parts) != 0 {
		t.Errorf("the results are %s, and %v is left", m.Place.Input, s.parts)
	}
}

// TestAResumeGoesOnWhereTheBranchesStand: with nothing spent, and with what has ended.
func TestAResumeGoesOnWhereTheBranchesStand(t *testing.T) {
	d, env := fanned(t)
	s := &store{parts: map[string]string{}}
	m := d.Next(d.Start(), nil, Event{}, env)
	s.keep(m)
	m = d.Next(m.Place, nil, Event{Kind: Succeeded, State: "Fan/1/Each/0/Tell", Output: json.RawMessage("1")}, env)
	s.keep(m)
	anew, changes := s.read(t).Restart()
	s.keep(Move{Place: anew, Changes: changes})
	m = d.Next(s.read(t), nil, Event{Kind: Fed}, env)
	wants(t, m, "Fan/0/Pay", "Fan/1/Each/1/Tell", "Fan/1/Each/2/Tell")
	if !m.Runs[0].Resumed {
		t.Error("I5: the effect is asked for as if it had not been begun")
	}
	first, dropped := d.Replay(m.Place)
	s.keep(Move{Place: first, Changes: dropped})
	if p := s.read(t); len(s.parts) != 1 || !p.Begun.Has("Fan/0/Pay") || p.Fork != nil {
		t.Errorf("replayed, it stands at %s with %v", s.place, s.parts)
	}
}
