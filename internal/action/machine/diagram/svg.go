package diagram

import (
	"encoding/xml"
	"fmt"
	"strings"

	"github.com/avalhq/aval/internal/action/machine"
)

// colours of a box.
type colours struct{ fill, stroke, text string }

// palette are the colours by mark; they hold on white, and are told apart by lightness too.
var palette = map[Mark]colours{
	Unreached: {"#ffffff", "#94a3b8", "#1e293b"},
	Done:      {"#dcfce7", "#16a34a", "#14532d"},
	Current:   {"#dbeafe", "#2563eb", "#1e3a8a"},
	Failed:    {"#fee2e2", "#dc2626", "#7f1d1d"},
}

const (
	margin    = 24
	startDot  = 7
	startRoom = 30 // above the first state
	legend    = 30
	paleText  = "#64748b"
	lineColor = "#64748b"
	catchLine = "#dc2626"
)

// SVG is the graph as a picture of its own, without scripts or anything from outside.
func (g *Graph) SVG() string {
	d := arrange(g)
	s := svg{}
	w, h := max(d.w, 320)+2*margin, d.h+2*margin+startRoom
	if g.Marked {
		h += legend
	}
	s.line(`<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f" role="img" aria-label="%s" font-family="Inter, 'Helvetica Neue', Helvetica, Arial, sans-serif">`,
		w, h, w, h, escaped("The workflow "+g.Title))
	s.line(`<title>%s</title>`, escaped(g.Title))
	s.line(`<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto-start-reverse"><path d="M0 1L9 5L0 9z" fill="%s"/></marker>`, lineColor)
	s.line(`<marker id="caught" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto-start-reverse"><path d="M0 1L9 5L0 9z" fill="%s"/></marker></defs>`, catchLine)
	s.line(`<rect width="100%%" height="100%%" fill="#ffffff"/>`)
	left := (w - d.w) / 2
	for _, c := range d.cells {
		if c.node.ID == g.Start {
			x := left + c.x
			s.line(`<circle cx="%.1f" cy="%d" r="%d" fill="%s"/>`, x, margin+startDot, startDot, lineColor)
			s.line(`<path d="M%.1f %dV%.1f" fill="none" stroke="%s" stroke-width="1.4" marker-end="url(#arrow)"/>`, x, margin+2*startDot, margin+startRoom+c.y-c.h/2-1, lineColor)
		}
	}
	s.drawing(d, left, margin+startRoom)
	if g.Marked {
		s.legend(margin, h-margin)
	}
	s.line(`</svg>`)
	return s.out.String()
}

// escaped is a text as XML takes it, characters that XML does not have replaced.
func escaped(text string) string {
	var out strings.Builder
	_ = xml.EscapeText(&out, []byte(text)) // a Builder takes everything
	return out.String()
}

type svg struct{ out strings.Builder }

func (s *svg) line(format string, args ...any) { fmt.Fprintf(&s.out, format+"\n", args...) }

func (s *svg) legend(x, y float64) {
	for _, entry := range []struct {
		mark Mark
		text string
	}{{Done, "done"}, {Current, "is here"}, {Failed, "failed"}, {Unreached, "not reached"}} {
		c := palette[entry.mark]
		s.line(`<rect x="%.1f" y="%.1f" width="14" height="14" rx="4" fill="%s" stroke="%s"/>`, x, y-11, c.fill, c.stroke)
		s.line(`<text x="%.1f" y="%.1f" font-size="%d" fill="%s">%s</text>`, x+20, y, noteSize, paleText, entry.text)
		x += 34 + width(entry.text, noteSize, false)
	}
}

// drawing draws a graph with its upper left corner at x, y: boxes first, so that arrows and their labels are on top.
func (s *svg) drawing(d *drawing, x, y float64) {
	for _, c := range d.cells {
		s.node(c, x+c.x, y+c.y)
	}
	for i, w := range d.ways {
		s.way(d, i, w, x, y)
	}
	for _, w := range d.ways {
		for _, c := range w.cells {
			if c.label != "" {
				s.line(`<rect x="%.1f" y="%.1f" width="%.1f" height="%d" rx="4" fill="#ffffff" fill-opacity="0.92"/>`, x+c.x-c.w/2, y+c.y-labelHeight/2, c.w, labelHeight)
				fill := paleText
				if w.edge.Kind == machine.OnCatch {
					fill = "#b91c1c"
				}
				s.line(`<text x="%.1f" y="%.1f" font-size="%.1f" fill="%s" text-anchor="middle"><title>%s</title>%s</text>`, x+c.x, y+c.y+3.7, labelSize, fill, escaped(w.edge.Label), escaped(c.label))
			}
		}
	}
}

func (s *svg) node(c *cell, x, y float64) {
	n, p := c.node, palette[c.node.Mark]
	left, top := x-c.w/2, y-c.h/2
	weight := 1.3
	if n.Mark == Current {
		weight = 2.4
	}
	switch {
	case len(n.Inner) > 0:
		fill := "#f8fafc"
		if n.Mark != Unreached {
			fill = p.fill
		}
		s.line(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="12" fill="%s" fill-opacity="0.6" stroke="%s" stroke-width="%.1f"/>`, left, top, c.w, c.h, fill, p.stroke, weight)
		s.line(`<text x="%.1f" y="%.1f" font-size="%d" font-weight="600" fill="%s">%s <tspan font-size="%d" font-weight="400" fill="%s">%s</tspan></text>`,
			left+boxPadding, top+21, textSize, p.text, escaped(n.Name), noteSize, paleText, escaped(n.Note))
		for i, d := range c.inner {
			if i > 0 {
				s.line(`<path d="M%.1f %.1fv%.1f" stroke="#cbd5e1" stroke-dasharray="2 4"/>`, left+d.x-branchGap/2, top+boxHeader, c.h-boxHeader-boxPadding)
			}
			s.drawing(d, left+d.x, top+d.y)
		}
		return
	case n.Type == machine.Choice:
		s.line(`<path d="M%.1f %.1fH%.1fL%.1f %.1fL%.1f %.1fH%.1fL%.1f %.1fz" fill="%s" stroke="%s" stroke-width="%.1f" stroke-linejoin="round"/>`,
			left+14, top, left+c.w-14, left+c.w, y, left+c.w-14, top+c.h, left+14, left, y, p.fill, p.stroke, weight)
	default:
		radius := 8.0
		if n.Type == machine.Succeed || n.Type == machine.Fail {
			radius = c.h / 2
		}
		s.line(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="%.1f" fill="%s" stroke="%s" stroke-width="%.1f"/>`, left, top, c.w, c.h, radius, p.fill, p.stroke, weight)
	}
	s.line(`<text x="%.1f" y="%.1f" font-size="%d" font-weight="600" fill="%s" text-anchor="middle">%s</text>`, x, y-2, textSize, p.text, escaped(n.Name))
	s.line(`<text x="%.1f" y="%.1f" font-size="%d" fill="%s" text-anchor="middle">%s</text>`, x, y+14, noteSize, paleText, escaped(n.Note))
}

// port is how far from a cell's middle one of its arrows begins or ends: they stand side by side, in the order of where they lead.
func port(d *drawing, c *cell, i int, down bool) float64 {
	if c.node == nil {
		return 0
	}
	here, at := 0, 0
	mine := next(d.ways[i], c)
	for j, w := range d.ways {
		other := next(w, c)
		if other == nil || (other.y > c.y) != down {
			continue
		}
		here++
		if j != i && (other.x < mine.x || other.x == mine.x && j < i) {
			at++
		}
	}
	step := min(22, (c.w-24)/float64(max(here, 1)))
	return (float64(at) - float64(here-1)/2) * step
}

// next is the cell beside the end of a way that c is; nil where it is no end.
func next(w way, c *cell) *cell {
	switch last := len(w.cells) - 1; {
	case last == 0 || w.cells[0] == w.cells[last]:
		return nil
	case w.cells[0] == c:
		return w.cells[1]
	case w.cells[last] == c:
		return w.cells[last-1]
	}
	return nil
}

// way draws an arrow through the middles of its parts, straight within a rank and bent between ranks.
func (s *svg) way(d *drawing, i int, w way, x, y float64) {
	stroke, style, marker := lineColor, "", "arrow"
	if w.edge.Kind == machine.OnCatch {
		stroke, style, marker = catchLine, ` stroke-dasharray="5 4"`, "caught"
	}
	first, last := w.cells[0], w.cells[len(w.cells)-1]
	var path strings.Builder
	if first == last { // it leads to itself
		right, top := x+first.x+first.w/2, y+first.y
		fmt.Fprintf(&path, "M%.1f %.1fc34 -16 34 32 1 18", right, top-9)
		s.line(`<text x="%.1f" y="%.1f" font-size="%.1f" fill="%s">%s</text>`, right+30, top+4, labelSize, stroke, escaped(shortened(w.edge.Label)))
	} else {
		sign := 1.0
		if w.back {
			sign = -1
		}
		atX, atY := x+first.x+port(d, first, i, !w.back), y+first.y+sign*first.h/2
		fmt.Fprintf(&path, "M%.1f %.1f", atX, atY)
		for _, c := range w.cells[1:] {
			toX, toY := x+c.x, y+c.y-sign*c.h/2
			if c == last {
				toX += port(d, c, i, w.back)
				toY -= sign
			}
			bend := (toY - atY) / 2
			fmt.Fprintf(&path, "C%.1f %.1f %.1f %.1f %.1f %.1f", atX, atY+bend, toX, toY-bend, toX, toY)
			if atX, atY = toX, toY; c != last && c.h > 0 {
				atY = y + c.y + sign*c.h/2
				fmt.Fprintf(&path, "V%.1f", atY)
			}
		}
	}
	s.line(`<path d="%s" fill="none" stroke="%s" stroke-width="1.4"%s marker-end="url(#%s)"/>`, path.String(), stroke, style, marker)
}
