package diagram

import (
	"cmp"
	"math"
	"slices"

	"github.com/avalhq/aval/internal/action/machine"
)

// The layout is the layered one of Sugiyama, Tagawa and Toda (1981): arrows that close a loop are turned round, states get ranks
// so that arrows lead down, long arrows are cut into parts of one rank, each rank is ordered by the middle of its neighbours, and
// then everything is moved to where its neighbours are. The label of an arrow stands on a rank of its own.

// Sizes in pixels.
const (
	nodeHeight  = 44
	nodePadding = 18
	boxPadding  = 16
	boxHeader   = 34
	gapBetween  = 28 // of neighbours in a rank
	gapRanks    = 24
	branchGap   = 20
	textSize    = 13
	noteSize    = 11
	labelSize   = 10.5
	labelHeight = 16
	loopWidth   = 36 // of an arrow that leads back to its own state
)

// cell is what has a place in a rank: a state, or a part of an arrow.
type cell struct {
	node   *Node
	label  string
	rank   int
	w, h   float64
	room   float64 // the width that it needs, with what stands beside it
	main   bool    // on the way that messages take when all goes well
	x, y   float64 // of its middle
	inner  []*drawing
	before []*cell // in the rank above
	after  []*cell // in the rank below
	middle float64
}

// drawing is a graph with places.
type drawing struct {
	graph *Graph
	cells []*cell // of states, as the graph has them
	ways  []way   // of edges, as the graph has them
	w, h  float64
	x, y  float64 // of its upper left corner, within the box around it
}

// way is an arrow: the cells it passes, from its beginning to its end.
type way struct {
	edge  Edge
	cells []*cell
	back  bool // it leads up
}

type layout struct {
	d      *drawing
	byID   map[string]*cell
	ranks  [][]*cell
	turned []bool // by edge
}

// arrange gives everything in a graph its place.
func arrange(g *Graph) *drawing {
	l := &layout{d: &drawing{graph: g}, byID: map[string]*cell{}, turned: make([]bool, len(g.Edges))}
	for _, n := range g.Nodes {
		c := &cell{node: n, main: true}
		c.size()
		c.room = c.w
		for _, e := range g.Edges {
			if e.From == n.ID && e.To == n.ID {
				c.room = max(c.room, c.w+2*(loopWidth+width(shortened(e.Label), labelSize, false)))
			}
		}
		l.byID[n.ID] = c
		l.d.cells = append(l.d.cells, c)
	}
	l.turn()
	l.rank()
	l.part()
	l.order()
	l.place()
	return l.d
}

// size of a state: of its text, or of the boxes in it.
func (c *cell) size() {
	c.w = max(width(c.node.Name, textSize, true), width(c.node.Note, noteSize, false)) + 2*nodePadding
	c.h = nodeHeight
	if c.node.Type == machine.Choice {
		c.w += 16
	}
	if len(c.node.Inner) == 0 {
		return
	}
	c.w = width(c.node.Name, textSize, true) + width(c.node.Note, noteSize, false) + 3*boxPadding
	inside := float64(boxPadding)
	for _, g := range c.node.Inner {
		d := arrange(g)
		d.x, d.y = inside, boxHeader
		inside += d.w + branchGap
		c.h = max(c.h, d.h+boxHeader+boxPadding)
		c.inner = append(c.inner, d)
	}
	slack := max(c.w-(inside-branchGap+boxPadding), 0)
	for _, d := range c.inner {
		d.x += slack / 2
	}
	c.w = max(c.w, inside-branchGap+boxPadding)
}

// turn finds the arrows that close a loop, by a walk in the order in which the graph was made.
func (l *layout) turn() {
	const under, left = 1, 2
	state := map[string]int{}
	out := map[string][]int{}
	for i, e := range l.d.graph.Edges {
		out[e.From] = append(out[e.From], i)
	}
	var walk func(id string)
	walk = func(id string) {
		state[id] = under
		for _, i := range out[id] {
			switch to := l.d.graph.Edges[i].To; state[to] {
			case under:
				l.turned[i] = true
			case 0:
				walk(to)
			}
		}
		state[id] = left
	}
	walk(l.d.graph.Start)
}

// ends of an edge, the upper one first.
func (l *layout) ends(i int) (upper, lower *cell) {
	e := l.d.graph.Edges[i]
	upper, lower = l.byID[e.From], l.byID[e.To]
	if l.turned[i] {
		upper, lower = lower, upper
	}
	return upper, lower
}

// rank puts every state below all that lead to it; between two ranks of states is one for labels.
func (l *layout) rank() {
	for range l.d.cells { // as many rounds as the longest way can have states
		moved := false
		for i := range l.d.graph.Edges {
			if upper, lower := l.ends(i); upper != lower && lower.rank < upper.rank+2 {
				lower.rank, moved = upper.rank+2, true
			}
		}
		if !moved {
			return
		}
	}
}

// part cuts arrows into parts of one rank; the label is on the first one, next to where it is decided.
func (l *layout) part() {
	for i, e := range l.d.graph.Edges {
		upper, lower := l.ends(i)
		w := way{edge: e, cells: []*cell{upper}, back: l.turned[i]}
		last := upper
		for rank := upper.rank + 1; rank < lower.rank; rank++ {
			c := &cell{rank: rank, w: 8, main: e.Kind == machine.OnNext && !w.back}
			if rank == upper.rank+1 && !w.back || rank == lower.rank-1 && w.back {
				c.label = shortened(e.Label)
			}
			if c.label != "" {
				c.w, c.h = width(c.label, labelSize, false)+12, labelHeight
			}
			c.room = c.w
			last.after, c.before = append(last.after, c), append(c.before, last)
			w.cells, last = append(w.cells, c), c
		}
		if upper != lower {
			last.after, lower.before = append(last.after, lower), append(lower.before, last)
		}
		w.cells = append(w.cells, lower)
		if w.back {
			slices.Reverse(w.cells)
		}
		l.d.ways = append(l.d.ways, w)
	}
}

// order sorts each rank by the middle of the neighbours above, then below, again and again.
func (l *layout) order() {
	for _, c := range l.d.cells {
		l.add(c)
	}
	for _, w := range l.d.ways {
		for _, c := range w.cells {
			if c.node == nil {
				l.add(c)
			}
		}
	}
	best, least := l.copied(), math.MaxInt
	for round := range 24 {
		for i := range l.ranks {
			rank, of := l.ranks[i], func(c *cell) []*cell { return c.before }
			if round%2 == 1 {
				rank, of = l.ranks[len(l.ranks)-1-i], func(c *cell) []*cell { return c.after }
			}
			position(l.ranks)
			for _, c := range rank {
				if near := of(c); len(near) > 0 {
					c.middle = 0
					for _, n := range near {
						c.middle += n.x / float64(len(near))
					}
				} else {
					c.middle = c.x
				}
			}
			slices.SortStableFunc(rank, func(a, b *cell) int { return cmp.Compare(a.middle, b.middle) })
		}
		if n := crossings(l.ranks); n < least {
			best, least = l.copied(), n
		}
	}
	l.ranks = best
}

func (l *layout) add(c *cell) {
	for len(l.ranks) <= c.rank {
		l.ranks = append(l.ranks, nil)
	}
	l.ranks[c.rank] = append(l.ranks[c.rank], c)
}

func (l *layout) copied() [][]*cell {
	out := make([][]*cell, len(l.ranks))
	for i, rank := range l.ranks {
		out[i] = slices.Clone(rank)
	}
	return out
}

// position makes x the place in the rank, for ordering.
func position(ranks [][]*cell) {
	for _, rank := range ranks {
		for i, c := range rank {
			c.x = float64(i) - float64(len(rank)-1)/2
		}
	}
}

func crossings(ranks [][]*cell) int {
	position(ranks)
	count := 0
	for _, rank := range ranks {
		for i, a := range rank {
			for _, b := range rank[i+1:] {
				for _, p := range a.after {
					for _, q := range b.after {
						if p.x > q.x {
							count++
						}
					}
				}
			}
		}
	}
	return count
}

// place gives coordinates: y by rank, x near the neighbours without overlap.
func (l *layout) place() {
	y := 0.0
	for i, rank := range l.ranks {
		height := 0.0
		for _, c := range rank {
			height = max(height, c.h)
		}
		for _, c := range rank {
			c.y = y + height/2
			if c.node == nil && c.label == "" {
				c.h = height // an arrow passes a rank straight
			}
		}
		y += height
		if i < len(l.ranks)-1 {
			y += gapRanks
		}
		spread(rank, func(c *cell) float64 { return c.x })
	}
	for round := range 80 {
		for i := range l.ranks {
			rank := l.ranks[i]
			if round%2 == 1 {
				rank = l.ranks[len(l.ranks)-1-i]
			}
			spread(rank, pull)
		}
	}
	left, right := math.Inf(1), math.Inf(-1)
	for _, rank := range l.ranks {
		for _, c := range rank {
			left, right = min(left, c.x-c.room/2), max(right, c.x+c.room/2)
		}
	}
	for _, rank := range l.ranks {
		for _, c := range rank {
			c.x -= left
		}
	}
	l.d.w, l.d.h = right-left, y
}

// pull is where a cell wants to be: the middle of its neighbours. What is on the main way pulls what is on it most, and then parts
// of one arrow each other, so that both are straight.
func pull(c *cell) float64 {
	sum, weight := 0.0, 0.0
	for _, n := range slices.Concat(c.before, c.after) {
		w := 1.0
		switch {
		case c.main && n.main && (c.node == nil || n.node == nil):
			w = 12
		case c.node == nil && n.node == nil:
			w = 6
		}
		sum, weight = sum+n.x*w, weight+w
	}
	if weight == 0 {
		return c.x
	}
	return sum / weight
}

// stiff is how much a cell counts where it and its neighbours want to be at one place.
func (c *cell) stiff() float64 {
	if c.main {
		return 8
	}
	return 1
}

// spread puts the cells of a rank as near to where they want to be as their order and widths allow: neighbours that would
// overlap form a block, which goes where its members want to be on average.
func spread(rank []*cell, want func(*cell) float64) {
	type block struct {
		at, weight float64 // wish of the first cell's middle, summed
		from, to   int
	}
	offset := make([]float64, len(rank)) // of each cell from the first of the rank, when all stand close
	for i := 1; i < len(rank); i++ {
		offset[i] = offset[i-1] + rank[i-1].room/2 + gapBetween + rank[i].room/2
	}
	var blocks []block
	for i, c := range rank {
		b := block{at: want(c) - offset[i], weight: c.stiff(), from: i, to: i}
		for len(blocks) > 0 && blocks[len(blocks)-1].at > b.at {
			last := blocks[len(blocks)-1]
			blocks = blocks[:len(blocks)-1]
			b = block{at: (last.at*last.weight + b.at*b.weight) / (last.weight + b.weight), weight: last.weight + b.weight, from: last.from, to: b.to}
		}
		blocks = append(blocks, b)
	}
	for _, b := range blocks {
		for i := b.from; i <= b.to; i++ {
			rank[i].x = b.at + offset[i]
		}
	}
}

// width estimates a text's width in a plain sans-serif face.
func width(text string, size float64, bold bool) float64 {
	sum := 0.0
	for _, r := range text {
		switch {
		case r == 'i' || r == 'l' || r == 'j' || r == '.' || r == ',' || r == '\'' || r == '|' || r == ':':
			sum += 0.29
		case r == 'm' || r == 'w' || r == 'M' || r == 'W' || r == '…' || r == '@':
			sum += 0.9
		case r >= 'A' && r <= 'Z':
			sum += 0.69
		case r == ' ' || r == 't' || r == 'f' || r == 'r' || r == '(' || r == ')' || r == '-':
			sum += 0.36
		case r > 0x2000:
			sum++
		default:
			sum += 0.57
		}
	}
	if bold {
		sum *= 1.06
	}
	return sum * size
}
