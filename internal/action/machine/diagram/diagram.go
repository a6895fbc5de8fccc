// Package diagram draws workflows: as SVG, which it lays out itself, and as text for Mermaid and Graphviz.
//
// A Graph is a definition as it is drawn: boxes for states, in boxes of their own those of a Parallel's branches and a Map's
// processor, and arrows where states lead. Marks tell how far a message has come. The same graph gives the same drawing.
package diagram

import (
	"fmt"
	"strings"

	"github.com/avalhq/aval/internal/action/machine"
)

// Mark says how far a message has come with a state.
type Mark string

// The marks.
const (
	Unreached Mark = ""
	Done      Mark = "done"
	Current   Mark = "current"
	Failed    Mark = "failed"
)

// Graph is a workflow, or a branch of one, as it is drawn.
type Graph struct {
	Title  string
	Start  string
	Nodes  []*Node // in the order of a walk from the start
	Edges  []Edge
	Marked bool // it shows a message
}

// Node is a state.
type Node struct {
	ID    string // "Fan/0/Pay", "Each/*/Pay"
	Name  string
	Note  string // what it does
	Type  machine.Type
	Mark  Mark
	Inner []*Graph // branches
}

// Edge is where a state leads.
type Edge struct {
	From, To string
	Label    string
	Kind     machine.EdgeKind
}

// Of makes the graph of a definition; marks, by the ids of nodes, may be nil.
func Of(d *machine.Definition, marks map[string]Mark) *Graph {
	g := graphOf(d.StartAt, d.States, "", marks)
	g.Title, g.Marked = d.Name, marks != nil
	return g
}

func graphOf(start string, states map[string]*machine.State, prefix string, marks map[string]Mark) *Graph {
	g := &Graph{Start: prefix + start}
	seen := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		st := states[name]
		if st == nil || seen[name] {
			return
		}
		seen[name] = true
		n := &Node{ID: prefix + name, Name: name, Note: note(st), Type: st.Type, Mark: marks[prefix+name]}
		for i, b := range st.Branches {
			way := fmt.Sprintf("%s%s/%d/", prefix, name, i)
			if st.Type == machine.Map {
				way = prefix + name + "/*/"
			}
			n.Inner = append(n.Inner, graphOf(b.StartAt, b.States, way, marks))
		}
		g.Nodes = append(g.Nodes, n)
		for _, e := range st.Edges() {
			label := e.Label
			if e.Kind == machine.OnDefault {
				label = "otherwise"
			}
			g.Edges = append(g.Edges, Edge{From: n.ID, To: prefix + e.To, Label: label, Kind: e.Kind})
			visit(e.To)
		}
	}
	visit(start)
	return g
}

// note says in a few words what a state does.
func note(st *machine.State) string {
	switch st.Type {
	case machine.Task:
		return st.Resource
	case machine.Parallel:
		return fmt.Sprintf("Parallel, %d branches", len(st.Branches))
	case machine.Map:
		return "Map, for each item"
	case machine.Choice, machine.Pass, machine.Wait, machine.Succeed, machine.Fail:
	}
	return string(st.Type)
}

// shortened is a label of at most maxLabel characters.
func shortened(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if chars := []rune(text); len(chars) > maxLabel {
		return string(chars[:maxLabel-1]) + "…"
	}
	return text
}
