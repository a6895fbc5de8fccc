// Package jsonpath reads values at paths as the Amazon States Language writes them.
//
// A path begins with $ (the state's data), $$ (the context object) or $name (a variable), and goes on with members (.a,
// ['a']), indexes ([0], [-1]), wildcards (.*, [*]), unions (['a','b'], [0,2]), slices ([1:3], [::2]), filters ([?(@.a > 1)])
// and recursive descent (..a). One that can lead to one place at most is definite: it gives the value, or a *Missing error.
// Every other path gives an array of what it finds, possibly an empty one. A reference path is definite without negative
// indexes; only such a path says where to write.
//
// Get and Set are pure, change nothing that they are given, and share parts of it. Walking is bounded by a Cost. No input
// makes this package panic. Members of objects are walked in the order of their names.
package jsonpath

import (
	"errors"
	"fmt"
	"strings"
)

// Root is where a path begins.
type Root uint8

// The roots.
const (
	Input    Root = iota // $
	Context              // $$
	Variable             // $name
	current              // @, within filters
)

// Source gives what paths begin at. The name is a variable's; found is false when there is none.
type Source interface {
	Root(root Root, name string) (v any, found bool, err error)
}

// Path is a parsed path, safe for concurrent use.
type Path struct {
	text     string
	root     Root
	name     string
	steps    []step
	definite bool
}

type kind uint8

const (
	member kind = iota
	index
	wildcard
	members
	indexes
	slice
	filter
)

type step struct {
	kind     kind
	deep     bool // of every descendant
	name     string
	index    int
	names    []string
	list     []int
	from, to *int
	by       int
	test     *condition
}

// String is the path as it was written.
func (p *Path) String() string { return p.text }

// Root tells where the path begins, and the variable's name.
func (p *Path) Root() (Root, string) { return p.root, p.name }

// Whole tells whether the path is the whole of its root: $, $$ or $name.
func (p *Path) Whole() bool { return len(p.steps) == 0 }

// Reference tells whether the path is a reference path into the state's data, which can be written to.
func (p *Path) Reference() bool {
	for _, s := range p.steps {
		if s.kind == index && s.index < 0 {
			return false
		}
	}
	return p.definite && p.root == Input
}

// Missing is the error of a definite path that leads nowhere.
type Missing struct{ Path string }

// Error is the sentence.
func (m *Missing) Error() string { return fmt.Sprintf("the path %s leads to nothing", m.Path) }

// ErrCost says that an evaluation was given up because it would take too long.
var ErrCost = errors.New("the evaluation takes too many steps")

// Cost is what may still be spent, in values looked at.
type Cost struct{ Left int }

// DefaultCost is enough for several walks over the largest input that the language allows.
const DefaultCost = 2_000_000

// Spend takes n from what is left.
func (c *Cost) Spend(n int) error {
	if c.Left -= n; c.Left < 0 {
		return ErrCost
	}
	return nil
}

// Parse reads a whole text as a path.
func Parse(text string) (*Path, error) {
	p, rest, err := Prefix(text)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(rest, "(") {
		return nil, fmt.Errorf("the path %s asks for a function, and paths have none; there are intrinsic functions, such as States.ArrayLength", text)
	}
	if rest != "" {
		return nil, fmt.Errorf("the path %s is not understood from %q on", text, rest)
	}
	return p, nil
}

const maxPath = 4096 // bytes

// Prefix reads the path that a text begins with and gives what follows it.
func Prefix(text string) (*Path, string, error) {
	if !strings.HasPrefix(text, "$") {
		return nil, "", fmt.Errorf("a path begins with $, not %q", text)
	}
	if len(text) > maxPath {
		return nil, "", fmt.Errorf("a path has at most %d bytes", maxPath)
	}
	r := &reader{text: text}
	p, err := r.path()
	if err != nil {
		return nil, "", fmt.Errorf("the path %s cannot be read: %w", text, err)
	}
	return p, text[r.at:], nil
}
