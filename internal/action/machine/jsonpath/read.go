package jsonpath

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const maxNesting = 32 // of filters and parentheses

// reader parses one text.
type reader struct {
	text    string
	at      int
	nesting int
}

func (r *reader) rest() string { return r.text[r.at:] }

// take goes past a token when it comes next.
func (r *reader) take(token string) bool {
	if !strings.HasPrefix(r.rest(), token) {
		return false
	}
	r.at += len(token)
	return true
}

func (r *reader) spaces() {
	for r.at < len(r.text) && (r.text[r.at] == ' ' || r.text[r.at] == '\t' || r.text[r.at] == '\n') {
		r.at++
	}
}

func (r *reader) path() (*Path, error) {
	p, from := &Path{definite: true}, r.at
	switch {
	case r.take("$$"):
		p.root = Context
	case r.take("$"):
		if p.name = r.identifier(); p.name != "" {
			p.root = Variable
		}
	case r.take("@"):
		p.root = current
	}
	for {
		s, ok, err := r.step()
		if err != nil {
			return nil, err
		}
		if !ok {
			p.text = r.text[from:r.at]
			return p, nil
		}
		p.steps = append(p.steps, s)
		p.definite = p.definite && !s.deep && (s.kind == member || s.kind == index)
	}
}

// identifier is a variable's name; empty when there is none.
func (r *reader) identifier() string {
	from := r.at
	for r.at < len(r.text) {
		c, size := utf8.DecodeRuneInString(r.rest())
		if c != '_' && !unicode.IsLetter(c) && (r.at == from || !unicode.IsDigit(c)) {
			break
		}
		r.at += size
	}
	return r.text[from:r.at]
}

func (r *reader) step() (s step, ok bool, err error) {
	switch {
	case r.take(".."):
		s.deep = true
		if r.take("[") {
			return r.bracket(s)
		}
	case r.take(".["): // as some write it; the dot says nothing
		return r.bracket(s)
	case r.take("."):
	case r.take("["):
		return r.bracket(s)
	default:
		return s, false, nil
	}
	if r.take("*") {
		s.kind = wildcard
		return s, true, nil
	}
	if s.name = r.member(); s.name == "" {
		return s, false, errors.New("there is no name after the dot")
	}
	return s, true, nil
}

// member is a name after a dot.
func (r *reader) member() string {
	ends := " \t\n.[]()'\"*,?$@"
	if r.nesting > 0 {
		ends += "=!<>&|~:/{}"
	}
	from := r.at
	for r.at < len(r.text) && !strings.ContainsRune(ends, rune(r.text[r.at])) {
		r.at++
	}
	return r.text[from:r.at]
}

// bracket reads what follows an opening bracket.
func (r *reader) bracket(s step) (step, bool, error) {
	r.spaces()
	var err error
	switch {
	case r.take("*"):
		s.kind = wildcard
	case r.take("?"):
		s.kind = filter
		s.test, err = r.filter()
	case strings.HasPrefix(r.rest(), "'"), strings.HasPrefix(r.rest(), `"`):
		err = r.names(&s)
	default:
		err = r.numbers(&s)
	}
	if err != nil {
		return s, false, err
	}
	r.spaces()
	if !r.take("]") {
		return s, false, errors.New("a bracket is not closed")
	}
	return s, true, nil
}

func (r *reader) names(s *step) error {
	for {
		r.spaces()
		name, err := r.quoted()
		if err != nil {
			return err
		}
		s.names = append(s.names, name)
		if r.spaces(); !r.take(",") {
			break
		}
	}
	s.kind = members
	if len(s.names) == 1 {
		s.kind, s.name, s.names = member, s.names[0], nil
	}
	return nil
}

// quoted reads a string in apostrophes or quotes; a backslash takes the next character as it is.
func (r *reader) quoted() (string, error) {
	if r.at >= len(r.text) || r.text[r.at] != '\'' && r.text[r.at] != '"' {
		return "", errors.New("a string in quotes is missing")
	}
	quote := r.text[r.at]
	var b strings.Builder
	for i := r.at + 1; i < len(r.text); i++ {
		switch c := r.text[i]; {
		case c == quote:
			r.at = i + 1
			return b.String(), nil
		case c == '\\' && i+1 < len(r.text):
			i++
			b.WriteByte(r.text[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", errors.New("a string is not closed")
}

func (r *reader) whole() (*int, error) {
	r.spaces()
	from := r.at
	r.take("-")
	for r.at < len(r.text) && r.text[r.at] >= '0' && r.text[r.at] <= '9' {
		r.at++
	}
	if from == r.at {
		return nil, nil
	}
	n, err := strconv.ParseInt(r.text[from:r.at], 10, 32)
	if err != nil {
		return nil, fmt.Errorf("%s is not an index", r.text[from:r.at])
	}
	r.spaces()
	whole := int(n)
	return &whole, nil
}

// numbers reads an index, several, or a slice.
func (r *reader) numbers(s *step) error {
	first, err := r.whole()
	if err != nil {
		return err
	}
	if r.take(":") {
		return r.slice(s, first)
	}
	if first == nil {
		return errors.New("a bracket holds neither a name, an index, a slice nor a filter")
	}
	s.list = append(s.list, *first)
	for r.take(",") {
		next, err := r.whole()
		if err != nil {
			return err
		}
		if next == nil {
			return errors.New("an index is missing after the comma")
		}
		s.list = append(s.list, *next)
	}
	s.kind = indexes
	if len(s.list) == 1 {
		s.kind, s.index, s.list = index, s.list[0], nil
	}
	return nil
}

func (r *reader) slice(s *step, from *int) (err error) {
	s.kind, s.from, s.by = slice, from, 1
	if s.to, err = r.whole(); err != nil {
		return err
	}
	if !r.take(":") {
		return nil
	}
	by, err := r.whole()
	if err != nil || by == nil {
		return err
	}
	if s.by = *by; s.by < 1 {
		return errors.New("the step of a slice is at least 1")
	}
	return nil
}
