package machine

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// within finds a part of a node by the names of fields and the numbers of items on the way to it, and where there is no such
// part, the nearest that there is.
func within(n *yaml.Node, path ...any) *yaml.Node {
	for _, step := range path {
		next := (*yaml.Node)(nil)
		switch step := step.(type) {
		case string:
			for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
				if n.Content[i].Value == step {
					next = n.Content[i+1]
				}
			}
		case int:
			if n.Kind == yaml.SequenceNode && step < len(n.Content) {
				next = n.Content[step]
			}
		}
		if next == nil {
			return n
		}
		n = next
	}
	return n
}

// at is where a part of a state stands; without a way, or where there is no such part at all, where its name does.
func (l *loader) at(st *State, path ...any) *yaml.Node {
	o, ok := l.origin[st]
	if !ok {
		return l.doc
	}
	if n := within(o.node, path...); n != o.node {
		return n
	}
	return o.key
}

// offset is the byte in a text of its line and column, both from 1, the column in characters.
func offset(text string, line, column int) int {
	at := 0
	for ; line > 1; line-- {
		next := strings.IndexByte(text[at:], '\n')
		if next < 0 {
			break
		}
		at += next + 1
	}
	for ; column > 1 && at < len(text); column-- {
		_, size := utf8.DecodeRuneInString(text[at:])
		at += size
	}
	return at
}

// locate gives the line and column in the source of a byte in a string's value: it walks source and value side by side, over
// escapes, folded lines and indents. What it cannot follow, it places at the string's beginning.
func locate(source []byte, n *yaml.Node, at int) (line, column int) {
	w := walker{rest: source[min(offset(string(source), n.Line, n.Column), len(source)):], line: n.Line, column: n.Column}
	w.open(n.Style)
	value := n.Value[:min(at, len(n.Value))]
	for value != "" {
		v, size := utf8.DecodeRuneInString(value)
		took, ok := w.step(v)
		if !ok {
			return n.Line, n.Column
		}
		if took {
			value = value[size:]
		}
	}
	w.margin()
	for w.style == yaml.DoubleQuotedStyle && bytes.HasPrefix(w.rest, []byte("\\\n")) {
		w.escape()
	}
	return w.line, w.column
}

// walker is a position in a source.
type walker struct {
	rest         []byte
	line, column int
	style        yaml.Style
	indent       int // of a block
}

// open passes what stands before a string's first character.
func (w *walker) open(style yaml.Style) {
	w.style = style & (yaml.DoubleQuotedStyle | yaml.SingleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle)
	switch w.style {
	case yaml.DoubleQuotedStyle, yaml.SingleQuotedStyle:
		w.skip(1)
	case yaml.LiteralStyle, yaml.FoldedStyle:
		if i := bytes.IndexByte(w.rest, '\n'); i >= 0 {
			w.skip(i + 1)
		}
		text := bytes.TrimLeft(w.rest, " \n")
		if i := bytes.LastIndexByte(w.rest[:len(w.rest)-len(text)], '\n'); i >= 0 {
			w.indent = len(w.rest) - len(text) - i - 1
		} else {
			w.indent = len(w.rest) - len(text)
		}
	}
}

func (w *walker) skip(n int) {
	for _, r := range string(w.rest[:min(n, len(w.rest))]) {
		if w.column++; r == '\n' {
			w.line, w.column = w.line+1, 1
		}
	}
	w.rest = w.rest[min(n, len(w.rest)):]
}

func (w *walker) block() bool { return w.style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 }

// margin passes the indent of a block's line.
func (w *walker) margin() {
	for w.block() && w.column <= w.indent && bytes.HasPrefix(w.rest, []byte(" ")) {
		w.skip(1)
	}
}

// step goes on by one character of the source, or by what stands for one of the value; took tells whether it was v.
func (w *walker) step(v rune) (took, ok bool) {
	w.margin()
	r, size := utf8.DecodeRune(w.rest)
	switch {
	case len(w.rest) == 0:
		return false, false
	case r == '\\' && w.style == yaml.DoubleQuotedStyle:
		return w.escape(), true
	case r == '\'' && w.style == yaml.SingleQuotedStyle:
		w.skip(2)
		return true, v == '\''
	case r == '\n' && w.block():
		w.skip(1)
		return v == '\n' || v == ' ', true
	case r == '\n':
		text := bytes.TrimLeft(w.rest, " \t\r\n")
		w.skip(len(w.rest) - len(text))
		return v == '\n' || v == ' ', true
	}
	w.skip(size)
	if r != v && (r == ' ' || r == '\t' || r == '\r') {
		return false, true // blanks before the end of a line
	}
	return true, r == v
}

// escape passes an escape of a quoted string; false: it stands for nothing.
func (w *walker) escape() bool {
	if len(w.rest) < 2 {
		w.skip(1)
		return false
	}
	kind, code := w.rest[1], strings.ToLower(string(w.rest[2:min(len(w.rest), 4)]))
	w.skip(2 + map[byte]int{'x': 2, 'u': 4, 'U': 8}[kind])
	if kind == 'u' && (code == "d8" || code == "d9" || code == "da" || code == "db") {
		w.skip(6) // the second half of a character beyond 16 bits
	}
	if kind == '\n' { // the line goes on in the next one, after its indent
		w.skip(len(w.rest) - len(bytes.TrimLeft(w.rest, " \t")))
	}
	return kind != '\n'
}
