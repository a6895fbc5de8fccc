// Package intrinsic is the intrinsic functions of the Amazon States Language: States.Format and the others.
//
// An Expr is what a field whose name ends in ".$" holds: a path, or a call whose arguments are strings in apostrophes,
// numbers, true, false, null, paths and calls. It is parsed once and evaluated any number of times, also concurrently.
// Evaluation is pure: chance comes from the Scope, which gives the same bytes for the same draw. It is bounded in work and
// in the size of what it makes, changes nothing it is given, and panics on no input.
package intrinsic

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/avalhq/aval/internal/action/machine/jsonpath"
)

// Scope is what an evaluation sees.
type Scope interface {
	jsonpath.Source
	Draw() [16]byte // the next random bytes
}

// Expr is a path or a call.
type Expr struct {
	path      *jsonpath.Path
	literal   any
	raw       string // of a string literal, with its escapes: States.Format reads them itself
	name      string
	function  *function
	arguments []*Expr
}

// Error says that a function could not be carried out.
type Error struct {
	Function string
	Err      error
}

// Error is the sentence.
func (e *Error) Error() string { return fmt.Sprintf("%s: %v", e.Function, e.Err) }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

const (
	maxText    = 10000 // characters of what is hashed or encoded, as Step Functions limits them
	maxMade    = 1 << 20
	maxRange   = 1000
	maxNesting = 10 // of calls, as Step Functions limits them
)

// Parse reads a path or a call.
func Parse(text string) (*Expr, error) {
	if strings.HasPrefix(text, "$") {
		p, err := jsonpath.Parse(text)
		return &Expr{path: p}, err
	}
	p := &parser{text: text}
	e, err := p.call()
	if err == nil && p.at < len(text) {
		err = fmt.Errorf("it goes on with %q after its end", text[p.at:])
	}
	if err != nil {
		return nil, fmt.Errorf("%q is neither a path nor a call of an intrinsic function: %w", text, err)
	}
	return e, nil
}

// Path is the path that the expression is; nil for a call.
func (e *Expr) Path() *jsonpath.Path { return e.path }

// String is the expression for messages to people.
func (e *Expr) String() string {
	if e.path != nil {
		return e.path.String()
	}
	return e.name
}

// Eval gives the value. The error is an *Error when a function is at fault.
func (e *Expr) Eval(s Scope, cost *jsonpath.Cost) (any, error) {
	switch {
	case e.path != nil:
		return e.path.Get(s, cost)
	case e.function == nil:
		return e.literal, nil
	}
	arguments := make([]any, len(e.arguments))
	for i, a := range e.arguments {
		var err error
		if arguments[i], err = a.Eval(s, cost); err != nil {
			return nil, err
		}
	}
	v, err := e.function.run(&call{expr: e, arguments: arguments, scope: s, cost: cost})
	if errors.Is(err, jsonpath.ErrCost) {
		return nil, err
	}
	if err != nil {
		return nil, &Error{Function: e.name, Err: err}
	}
	return v, nil
}

// parser reads one call.
type parser struct {
	text    string
	at      int
	nesting int
}

func (p *parser) rest() string { return p.text[p.at:] }

func (p *parser) spaces() { p.at = len(p.text) - len(strings.TrimLeft(p.rest(), " \t\n")) }

func (p *parser) call() (*Expr, error) {
	open := strings.IndexByte(p.rest(), '(')
	if open < 0 {
		return nil, errors.New("there is no parenthesis")
	}
	e := &Expr{name: strings.TrimRight(p.rest()[:open], " ")}
	var known bool
	if e.function, known = find(e.name); !known {
		return nil, fmt.Errorf("there is no function %s", e.name)
	}
	if p.nesting++; p.nesting > maxNesting {
		return nil, fmt.Errorf("calls are nested more than %d deep", maxNesting)
	}
	defer func() { p.nesting-- }()
	p.at += open + 1
	for p.spaces(); !strings.HasPrefix(p.rest(), ")"); p.spaces() {
		if len(e.arguments) > 0 {
			if !strings.HasPrefix(p.rest(), ",") {
				return nil, errors.New("a comma or a closing parenthesis is missing")
			}
			p.at++
			p.spaces()
		}
		argument, err := p.argument()
		if err != nil {
			return nil, err
		}
		e.arguments = append(e.arguments, argument)
	}
	p.at++
	if n := len(e.arguments); n < e.function.least || e.function.most >= 0 && n > e.function.most {
		return nil, fmt.Errorf("%s does not take %d arguments", e.name, n)
	}
	return e, nil
}

func (p *parser) argument() (*Expr, error) {
	switch {
	case strings.HasPrefix(p.rest(), "'"):
		return p.quoted()
	case strings.HasPrefix(p.rest(), "$"):
		path, rest, err := jsonpath.Prefix(p.rest())
		p.at = len(p.text) - len(rest)
		return &Expr{path: path}, err
	case strings.HasPrefix(p.rest(), "States."):
		return p.call()
	}
	end := strings.IndexAny(p.rest(), ",) \t\n")
	if end < 0 {
		return nil, errors.New("the call is not closed")
	}
	word := p.rest()[:end]
	p.at += end
	switch {
	case word == "true", word == "false":
		return &Expr{literal: word == "true"}, nil
	case word == "null":
		return &Expr{}, nil
	case word != "" && strings.IndexByte("-0123456789", word[0]) >= 0 && json.Valid([]byte(word)):
		return &Expr{literal: json.Number(word)}, nil
	}
	return nil, fmt.Errorf("%q is not an argument: write a string in apostrophes, a number, true, false, null, a path or a call", word)
}

// quoted reads a string in apostrophes. A backslash stands before an apostrophe, a brace or a backslash, and nowhere else.
func (p *parser) quoted() (*Expr, error) {
	var plain strings.Builder
	text := p.rest()
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\'':
			p.at += i + 1
			return &Expr{literal: plain.String(), raw: text[1:i]}, nil
		case c == '\\':
			i++
			if i >= len(text) || strings.IndexByte(`'{}\`, text[i]) < 0 {
				return nil, errors.New(`a backslash stands before ', {, } or \ only`)
			}
			plain.WriteByte(text[i])
		default:
			plain.WriteByte(c)
		}
	}
	return nil, errors.New("a string is not closed")
}

// Paths lists the paths in it, those in arguments too.
func (e *Expr) Paths() []*jsonpath.Path {
	var paths []*jsonpath.Path
	if e.path != nil {
		paths = append(paths, e.path)
	}
	for _, argument := range e.arguments {
		paths = append(paths, argument.Paths()...)
	}
	return paths
}
