package machine

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// DecodePlace reads a stored place with its parts, in the order of their keys.
func DecodePlace(raw []byte, parts []Part) (Place, error) {
	p, err := decode(raw, parts)
	if err != nil {
		return Place{}, fmt.Errorf("the stored place of the message cannot be read: %w", err)
	}
	return p, nil
}

func decode(raw []byte, parts []Part) (Place, error) {
	var s storedPlace
	if err := json.Unmarshal(raw, &s); err != nil {
		return s.Place, err
	}
	p := s.Place
	switch s.Format {
	case 1:
		if err := decodeWhole(raw, &p); err != nil {
			return p, err
		}
	case format:
	default:
		return p, fmt.Errorf("it has format %d; this version reads formats 1 and %d", s.Format, format)
	}
	for _, name := range s.Begun {
		if !p.Begun.Has(name) {
			p.Begun = p.Begun.with(name, false)
		}
	}
	if s.Format == format {
		if err := p.prepare(); err != nil {
			return p, err
		}
	}
	for i := range parts {
		if err := p.take(&parts[i]); err != nil {
			return p, fmt.Errorf("its part %q: %w", parts[i].Key, err)
		}
	}
	return p, p.complete()
}

// prepare makes room for the branches that are to come.
func (p *Place) prepare() error {
	if p.Fork == nil {
		return nil
	}
	if p.Fork.Total < 0 || p.Fork.Total > MaxItems {
		return fmt.Errorf("it has %d branches", p.Fork.Total)
	}
	p.Fork = newFork(p.Fork.Total)
	return nil
}

// take puts a part in its place. Nothing else has the place yet, so its fork may be changed.
func (p *Place) take(part *Part) error {
	if name, ok := strings.CutPrefix(part.Key, begunKey); ok {
		if !p.Begun.Has(name) {
			p.Begun = p.Begun.with(name, true)
		}
		return nil
	}
	if part.Key == inputKey {
		if !json.Valid(part.Data) {
			return errors.New("it is not JSON")
		}
		p.Input = part.Data
		return nil
	}
	var f *Fork
	at := 0
	for i, err := range indexes(part.Key) {
		if err != nil {
			return err
		}
		if f != nil {
			if i := f.branches.at(at); i == nil || i.place == nil {
				return errors.New("it belongs to a branch that is not under way")
			}
			p = f.branches.at(at).place
		}
		if f, at = p.Fork, i; f == nil || at >= f.Total {
			return errors.New("there is no such branch")
		}
	}
	var s storedBranch
	if err := json.Unmarshal(part.Data, &s); err != nil {
		return err
	}
	return f.restore(at, s)
}

// restore takes a stored branch over.
func (f *Fork) restore(i int, s storedBranch) error {
	if (s.Place == nil) == (s.Result == nil) || f.branches.at(i) != nil {
		return errors.New("it is neither under way nor ended")
	}
	b := &branch{place: s.Place, vars: s.Vars, result: s.Result, failed: s.Failed}
	if s.Place != nil {
		if err := s.Place.prepare(); err != nil {
			return err
		}
		f.active = append(f.active, i)
	}
	if s.Failed {
		f.Failed++
	}
	f.branches.set(i, b)
	f.Started++
	return nil
}

// complete looks whether those that were started are the first ones, everywhere.
func (p *Place) complete() error {
	if p.Fork == nil {
		return nil
	}
	f := p.Fork
	slices.Sort(f.active)
	for i := range f.Started {
		b := f.branches.at(i)
		if b == nil {
			return fmt.Errorf("there is no branch %d", i)
		}
		if b.place == nil {
			continue
		}
		if err := b.place.complete(); err != nil {
			return err
		}
	}
	return nil
}
