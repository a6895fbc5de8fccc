package postgres

import (
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/avalhq/aval/internal/guarantee"
)

const (
	// A part goes when its key is named, and when it begins with a branch's: upto is the first key behind those.
	removePartsSQL = `DELETE FROM parts p USING unnest($1::text[], $2::bytea[], $3::bytea[]) AS t(id, key, upto)
		WHERE p.id = t.id AND (p.key = t.key OR p.key >= t.key AND p.key < t.upto)`
	putPartsSQL = `INSERT INTO parts (id, key, data) SELECT * FROM unnest($1::text[], $2::bytea[], $3::bytea[])
		ON CONFLICT (id, key) DO UPDATE SET data = excluded.data`
)

// moveParts writes the parts that applied transitions change: rows of their own, so that a commit writes those that changed.
func moveParts(b *pgx.Batch, ts []guarantee.Transition, w wave, outcomes []outcome) {
	var removed, put columns
	for _, n := range w.places {
		if outcomes[n] == applied && !ts[n].Status.Terminal() {
			changeParts(&ts[n], &removed, &put)
		}
	}
	if removed != nil {
		b.Queue(removePartsSQL, removed...)
	}
	if put != nil {
		b.Queue(putPartsSQL, put...)
	}
}

// changeParts says in two lists what a transition's changes come to, one after the other: first what is removed, then what
// is put and not changed again by a later change. Therefore it begins at the last one.
func changeParts(t *guarantee.Transition, removed, put *columns) {
	later := map[string]bool{} // keys that are settled
	var branches []string      // that go as a whole
	for _, p := range slices.Backward(t.Parts) {
		settled := later[p.Key] || slices.ContainsFunc(branches, func(branch string) bool { return strings.HasPrefix(p.Key, branch) })
		later[p.Key] = true
		switch {
		case p.Data == nil && p.Branch():
			branches = append(branches, p.Key)
			removed.add(string(t.ID), []byte(p.Key), []byte(p.Key[:len(p.Key)-1]+"0")) // the byte after the slash
		case p.Data == nil && !settled:
			removed.add(string(t.ID), []byte(p.Key), []byte(p.Key))
		case p.Data != nil && !settled:
			put.add(string(t.ID), []byte(p.Key), p.Data)
		}
	}
}
