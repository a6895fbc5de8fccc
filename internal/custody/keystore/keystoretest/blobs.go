package keystoretest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"testing"

	"github.com/avalhq/aval/internal/conform"
	"github.com/avalhq/aval/internal/custody/keystore"
)

// Places is a place for sealed values under test.
type Places struct {
	// Open opens the same place again, as the next process does.
	Open func(t testing.TB) keystore.Blobs
	// Admin opens it with the rights that Replace needs.
	Admin func(t testing.TB) keystore.Blobs
}

// RunBlobs runs the whole suite of keystore.Blobs; each test gets a place of its own.
func RunBlobs(t *testing.T, fresh func(t testing.TB) Places) {
	conform.Suite[Places]{
		Cases: map[string]func(*testing.T, Places){
			"basic/WhatWasAddedIsFound":         blobAdded,
			"basic/NothingIsReplacedByAdd":      blobKept,
			"transactions/ReplaceComparesFirst": blobReplaced,
			"basic/ListGivesOneFolder":          blobListed,
			"faults/FoundByTheNextProcess":      blobReopened,
			"concurrency/OneOfManyAdds":         blobRace,
		},
	}.Run(t, func(t *testing.T) Places { return fresh(t) })
}

func holds(t testing.TB, b keystore.Blobs, name string, want []byte) {
	t.Helper()
	if got, err := b.Get(t.Context(), name); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s holds %q, %v; want %q", b.Where(name), got, err, want)
	}
}

func add(t testing.TB, b keystore.Blobs, name string, content []byte) {
	t.Helper()
	if err := b.Add(t.Context(), name, content); err != nil {
		t.Fatalf("add %s: %v", name, err)
	}
}

func blobAdded(t *testing.T, p Places) {
	b := p.Open(t)
	if got, err := b.Get(t.Context(), "keys/key_a.sealed"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("before anything was added: %q, %v; want fs.ErrNotExist", got, err)
	}
	for _, content := range [][]byte{{0}, []byte("a\x00b\xff"), bytes.Repeat([]byte{7}, 100_000)} {
		name := fmt.Sprintf("keys/key_%d.sealed", len(content))
		add(t, b, name, content)
		holds(t, b, name, content)
	}
}

func blobKept(t *testing.T, p Places) {
	b := p.Open(t)
	add(t, b, "store.json", []byte("first"))
	for _, again := range []string{"second", "first"} {
		if err := b.Add(t.Context(), "store.json", []byte(again)); !errors.Is(err, fs.ErrExist) {
			t.Errorf("added twice: %v; want fs.ErrExist", err)
		}
	}
	holds(t, b, "store.json", []byte("first"))
}

func blobReplaced(t *testing.T, p Places) {
	b, admin := p.Open(t), p.Admin(t)
	if err := admin.Replace(t.Context(), "store.json", []byte("x"), []byte("y")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("replaced what is not there: %v; want fs.ErrNotExist", err)
	}
	add(t, b, "store.json", []byte("first"))
	if err := admin.Replace(t.Context(), "store.json", []byte("other"), []byte("second")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("replaced another value: %v; want fs.ErrNotExist", err)
	}
	holds(t, b, "store.json", []byte("first"))
	if err := admin.Replace(t.Context(), "store.json", []byte("first"), []byte("second")); err != nil {
		t.Fatal(err)
	}
	holds(t, b, "store.json", []byte("second"))
}

func blobListed(t *testing.T, p Places) {
	b := p.Open(t)
	if names, err := b.List(t.Context(), "keys"); err != nil || len(names) > 0 {
		t.Fatalf("an empty place lists %v, %v", names, err)
	}
	want := []string{"keys/key_a.sealed", "keys/key_b.sealed"}
	for _, name := range []string{want[1], "secrets/c.sealed", "store.json", want[0], "keysmore/x.sealed"} {
		add(t, b, name, []byte(name))
	}
	if names, err := b.List(t.Context(), "keys"); err != nil || !slices.Equal(names, want) {
		t.Errorf("keys lists %v, %v; want %v", names, err, want)
	}
}

func blobReopened(t *testing.T, p Places) {
	first := p.Open(t)
	add(t, first, "secrets/a.sealed", []byte("a"))
	next := p.Open(t)
	holds(t, next, "secrets/a.sealed", []byte("a"))
	add(t, next, "secrets/b.sealed", []byte("b"))
	holds(t, p.Open(t), "secrets/b.sealed", []byte("b"))
}

func blobRace(t *testing.T, p Places) {
	b := p.Open(t)
	var wg sync.WaitGroup
	won := make([]bool, 16)
	for i := range won {
		wg.Go(func() {
			err := b.Add(t.Context(), "store.json", []byte{byte(i)})
			if won[i] = err == nil; !won[i] && !errors.Is(err, fs.ErrExist) {
				t.Errorf("add: %v", err)
			}
		})
	}
	wg.Wait()
	winner := slices.Index(won, true)
	if winner < 0 || slices.Contains(won[winner+1:], true) {
		t.Fatalf("one of them should have been first: %v", won)
	}
	holds(t, b, "store.json", []byte{byte(winner)})
}
