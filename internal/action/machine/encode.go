package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// How a place is stored. It is JSON with a version. What may be large while branches are under way is kept in parts, each of
// which is written when it changes:
//
//	f/i           the input of a Parallel or Map of the workflow itself
//	f/17/         its branch or iteration 17: where it stands, or what it came to
//	f/17/3/       a branch of the Parallel or Map in which that one stands
//	b/Fan/17/Pay  a Task with an effect in a branch was begun
//
// The branches that have a part are those that were started; the rest follows from what they hold. Format 1 was one piece.
const format = 2

const (
	forkKey  = "f/"
	inputKey = forkKey + "i"
	begunKey = "b/"
)

func branchKey(under string, index int) string { return under + strconv.Itoa(index) + "/" }

// Part is a piece of a place that is stored under its own key. One without data is removed, with all under it where the key
// ends in a slash.
type Part struct {
	Key  string
	Data []byte
}

// storedPlace is the place without its parts.
type storedPlace struct {
	Format int `json:"v"`
	Place
	Begun []string `json:"b,omitempty"`
}

// storedBranch is the part of a branch.
type storedBranch struct {
	Place  *Place          `json:"p,omitempty"` // under way
	Vars   json.RawMessage `json:"e,omitempty"` // its variables, when it has set some
	Result json.RawMessage `json:"r,omitempty"` // ended
	Failed bool            `json:"x,omitempty"` // with a failure that was tolerated
}

// Encode gives the stored form, without the parts.
func (p Place) Encode() []byte {
	if p.Fork != nil {
		p.Input = nil
	}
	return mustEncode(storedPlace{format, p, p.Begun.own()})
}

func mustEncode(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil { // only an invalid Input could do that, and inputs were checked when they were made
		panic(fmt.Sprintf("encode the place of a message: %v", err))
	}
	return raw
}

// Parts gives the changed parts as they are to be stored.
func (p Place) Parts(changed Changes) (parts []Part) {
	for _, key := range changed.dropped {
		parts = append(parts, Part{Key: key})
	}
	for _, key := range changed.keys {
		if data := p.part(key); data != nil {
			parts = append(parts, Part{key, data})
		}
	}
	return parts
}

// AllParts gives all parts.
func (p Place) AllParts() []Part { return p.Parts(p.everything()) }

func (p Place) everything() (all Changes) {
	for i, name := range p.Begun.Names() {
		if p.Begun.log.apart[i] {
			all.put(begunKey + name)
		}
	}
	if p.Fork != nil {
		all.put(inputKey)
		p.Fork.everything(forkKey, &all)
	}
	return all
}

func (f *Fork) everything(key string, all *Changes) {
	for i := range f.Started {
		all.put(branchKey(key, i))
		if b := f.branches.at(i); b.place != nil && b.place.Fork != nil {
			b.place.Fork.everything(branchKey(key, i), all)
		}
	}
}

// part gives the data of a part; nil when there is none any more.
func (p *Place) part(key string) []byte {
	switch {
	case strings.HasPrefix(key, begunKey):
		return []byte("1")
	case key == inputKey:
		if p.Fork == nil || p.Input == nil {
			return nil
		}
		return p.Input
	}
	var b *branch
	for i, err := range indexes(key) {
		if err != nil || p == nil || p.Fork == nil || i >= p.Fork.Started {
			return nil
		}
		b = p.Fork.branches.at(i)
		p = b.place
	}
	return mustEncode(storedBranch{b.place, b.vars, b.result, b.failed})
}

// indexes are the numbers in a branch's key.
func indexes(key string) func(yield func(int, error) bool) {
	return func(yield func(int, error) bool) {
		rest, ok := strings.CutPrefix(key, forkKey)
		if !ok || rest == "" {
			yield(0, errors.New("no branch has this key"))
			return
		}
		for rest != "" {
			number, more, ok := strings.Cut(rest, "/")
			i, err := strconv.Atoi(number)
			if !ok || err != nil || i < 0 || strconv.Itoa(i) != number {
				yield(0, errors.New("no branch has this key"))
				return
			}
			if rest = more; !yield(i, nil) {
				return
			}
		}
	}
}
