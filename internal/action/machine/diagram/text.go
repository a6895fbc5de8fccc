package diagram

import (
	"fmt"
	"strings"

	"github.com/avalhq/aval/internal/action/machine"
)

// maxLabel is the longest label of an arrow.
const maxLabel = 34

// Mermaid is the graph as a flow chart of mermaid.js.org, which many wikis and code hosts draw.
func (g *Graph) Mermaid() string {
	m := mermaid{ids: map[string]string{}}
	m.line(0, "flowchart TD")
	m.line(1, "start(( )) --> %s", m.id(g.Start))
	m.graph(g, 1)
	if g.Marked {
		for _, mark := range []Mark{Done, Current, Failed} {
			c := palette[mark]
			m.line(1, "classDef %s fill:%s,stroke:%s,color:%s", mark, c.fill, c.stroke, c.text)
		}
	}
	return m.out.String()
}

type mermaid struct {
	out strings.Builder
	ids map[string]string
}

func (m *mermaid) line(depth int, format string, args ...any) {
	fmt.Fprintf(&m.out, strings.Repeat("    ", depth)+format+"\n", args...)
}

// id is a name without characters that mean something.
func (m *mermaid) id(state string) string {
	if m.ids[state] == "" {
		m.ids[state] = fmt.Sprintf("s%d", len(m.ids)+1)
	}
	return m.ids[state]
}

// quoted is a text as Mermaid takes it.
func quoted(text string) string {
	return `"` + strings.NewReplacer(`"`, "#quot;", "&", "#amp;", "<", "#lt;", ">", "#gt;", "#", "#35;").Replace(strings.Join(strings.Fields(text), " ")) + `"`
}

func (m *mermaid) graph(g *Graph, depth int) {
	for _, n := range g.Nodes {
		m.node(n, depth)
	}
	for _, e := range g.Edges {
		arrow := "-->"
		if e.Kind == machine.OnCatch {
			arrow = "-.->"
		}
		label := ""
		if e.Label != "" {
			label = "|" + quoted(shortened(e.Label)) + "|"
		}
		m.line(depth, "%s %s%s %s", m.id(e.From), arrow, label, m.id(e.To))
	}
}

func (m *mermaid) node(n *Node, depth int) {
	label, class := quoted(n.Name), ""
	if n.Note != "" {
		label = strings.TrimSuffix(quoted(n.Name), `"`) + "<br/><small>" + strings.Trim(quoted(n.Note), `"`) + `</small>"`
	}
	if n.Mark != Unreached {
		class = ":::" + string(n.Mark)
	}
	if len(n.Inner) > 0 {
		m.line(depth, "subgraph %s[%s]", m.id(n.ID), label)
		for _, inner := range n.Inner {
			m.graph(inner, depth+1)
		}
		m.line(depth, "end")
		if n.Mark != Unreached {
			m.line(depth, "class %s %s", m.id(n.ID), n.Mark)
		}
		return
	}
	shape := map[machine.Type][2]string{machine.Choice: {"{{", "}}"}, machine.Succeed: {"([", "])"}, machine.Fail: {"([", "])"}}[n.Type]
	if shape[0] == "" {
		shape = [2]string{"[", "]"}
	}
	m.line(depth, "%s%s%s%s%s", m.id(n.ID), shape[0], label, shape[1], class)
}

// DOT is the graph in the language of graphviz.org.
func (g *Graph) DOT() string {
	var out strings.Builder
	line := func(depth int, format string, args ...any) {
		fmt.Fprintf(&out, strings.Repeat("    ", depth)+format+"\n", args...)
	}
	line(0, "digraph %q {", g.Title)
	line(1, `compound=true; node [shape=box style="rounded,filled" fillcolor=white fontname=Helvetica]; edge [fontname=Helvetica fontsize=10];`)
	line(1, `start [shape=point]; start -> %q;`, entry(g))
	dot(g, 1, line)
	line(0, "}")
	return out.String()
}

// entry is the node that an arrow to the graph's start leads to: that of the first inner state, where it is a box of states.
func entry(g *Graph) string {
	for _, n := range g.Nodes {
		if n.ID == g.Start {
			return inmost(n)
		}
	}
	return g.Start
}

func inmost(n *Node) string {
	if len(n.Inner) > 0 {
		return entry(n.Inner[0])
	}
	return n.ID
}

func dot(g *Graph, depth int, line func(depth int, format string, args ...any)) {
	nodes := map[string]*Node{}
	for _, n := range g.Nodes {
		nodes[n.ID] = n
		c := palette[n.Mark]
		if len(n.Inner) == 0 {
			line(depth, "%q [label=%q fillcolor=%q color=%q];", n.ID, n.Name+"\n"+n.Note, c.fill, c.stroke)
			continue
		}
		line(depth, "subgraph %q {", "cluster "+n.ID)
		line(depth+1, "label=%q; style=rounded; color=%q; fontname=Helvetica;", n.Name+" ("+n.Note+")", c.stroke)
		for _, inner := range n.Inner {
			dot(inner, depth+1, line)
		}
		line(depth, "}")
	}
	for _, e := range g.Edges {
		style := ""
		if e.Kind == machine.OnCatch {
			style = " style=dashed"
		}
		from, to := nodes[e.From], nodes[e.To]
		if len(from.Inner) > 0 {
			style += fmt.Sprintf(" ltail=%q", "cluster "+from.ID)
		}
		if len(to.Inner) > 0 {
			style += fmt.Sprintf(" lhead=%q", "cluster "+to.ID)
		}
		line(depth, "%q -> %q [label=%q%s];", inmost(from), inmost(to), shortened(e.Label), style)
	}
}
