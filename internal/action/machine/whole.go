package machine

import (
	"encoding/json"
	"errors"
)

// wholePlace is a place of format 1: with all its branches and their results.
type wholePlace struct {
	Fork *wholeFork `json:"f"`
}

type wholeFork struct {
	Total    int               `json:"t"`
	Started  int               `json:"s"`
	Failed   int               `json:"x"`
	Branches []wholeBranch     `json:"b"`
	Results  []json.RawMessage `json:"r"`
}

type wholeBranch struct {
	Index int             `json:"i"`
	Place json.RawMessage `json:"p"`
	Vars  json.RawMessage `json:"e"`
}

// decodeWhole reads the branches of format 1 into p.
func decodeWhole(raw []byte, p *Place) error {
	var w wholePlace
	if err := json.Unmarshal(raw, &w); err != nil || w.Fork == nil {
		return err
	}
	p.whole = true
	f := w.Fork
	if f.Total < 0 || f.Total > MaxItems || f.Started < 0 || f.Started > f.Total || len(f.Results) != f.Total {
		return errors.New("its branches do not fit one another")
	}
	p.Fork = newFork(f.Total)
	for _, b := range f.Branches {
		var place Place
		if err := json.Unmarshal(b.Place, &place); err != nil {
			return err
		}
		if err := decodeWhole(b.Place, &place); err != nil {
			return err
		}
		if b.Index < 0 || b.Index >= f.Started || p.Fork.branches.at(b.Index) != nil {
			return errors.New("its branches do not fit one another")
		}
		p.Fork.branches.set(b.Index, &branch{place: &place, vars: b.Vars})
		p.Fork.active = append(p.Fork.active, b.Index)
	}
	failed := f.Failed // which ones is not known, only how many
	for i, result := range f.Results[:f.Started] {
		if p.Fork.branches.at(i) == nil {
			p.Fork.branches.set(i, &branch{result: result, failed: failed > 0})
			failed--
		}
	}
	p.Fork.Started, p.Fork.Failed = f.Started, f.Failed
	return nil
}
