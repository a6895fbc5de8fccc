package diagram

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/avalhq/aval/internal/action/machine"
)

const fan = `
QueryLanguage: CEL
StartAt: Check
States:
  Check:
    Type: Choice
    Choices: [{Condition: "{% message.body.a > 5 && '<&>' != '' %}", Next: Fan}]
    Default: Done
  Fan:
    Type: Parallel
    Branches:
      - StartAt: Pay
        States:
          Pay: {Type: Task, Resource: pay, Catch: [{ErrorEquals: [busy], Next: Pay}, {ErrorEquals: [States.ALL], Next: Undo}], Next: Confirm}
          Confirm: {Type: Task, Resource: confirm, End: true}
          Undo: {Type: Fail}
      - StartAt: Each
        States:
          Each:
            Type: Map
            Items: "{% [1, 2] %}"
            ItemProcessor: {StartAt: Tell, States: {Tell: {Type: Task, Resource: tell, Next: Nap}, Nap: {Type: Wait, Seconds: 1, Next: Told}, Told: {Type: Succeed}}}
            End: true
    Catch: [{ErrorEquals: [States.ALL], Next: Check}]
    Next: Done
  Done: {Type: Succeed}
`

func definition(t *testing.T, source string) *machine.Definition {
	t.Helper()
	d, err := machine.Load("fan.v1", []byte(source), func(string) (effect, known bool) { return false, true })
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func shipped(t *testing.T) *machine.Definition {
	t.Helper()
	source, err := os.ReadFile("../../../../workflows/transfer.v1.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return definition(t, string(source))
}

// TestNothingOverlaps: states and labels stand beside each other, and within their box, whatever the graph.
func TestNothingOverlaps(t *testing.T) {
	apart(t, arrange(Of(definition(t, fan), nil)))
	apart(t, arrange(Of(shipped(t), nil)))
	rapid.Check(t, func(t *rapid.T) {
		g := &Graph{Start: "s0"}
		n := rapid.IntRange(1, 12).Draw(t, "states")
		for i := range n {
			g.Nodes = append(g.Nodes, &Node{ID: fmt.Sprintf("s%d", i), Name: rapid.StringN(1, 20, 80).Draw(t, "name")})
			if i > 0 { // all can be reached
				g.Edges = append(g.Edges, Edge{From: fmt.Sprintf("s%d", rapid.IntRange(0, i-1).Draw(t, "from")), To: fmt.Sprintf("s%d", i)})
			}
		}
		for range rapid.IntRange(0, 15).Draw(t, "more") {
			from, to := rapid.IntRange(0, n-1).Draw(t, "from"), rapid.IntRange(0, n-1).Draw(t, "to")
			g.Edges = append(g.Edges, Edge{From: fmt.Sprintf("s%d", from), To: fmt.Sprintf("s%d", to), Label: rapid.String().Draw(t, "label")})
		}
		apart(t, arrange(g))
		wellFormed(t, g.SVG())
	})
}

type tester interface {
	Helper()
	Errorf(format string, args ...any)
}

func apart(t tester, d *drawing) {
	t.Helper()
	cells := append([]*cell{}, d.cells...)
	for _, w := range d.ways {
		for _, c := range w.cells {
			if c.node == nil && c.label != "" {
				cells = append(cells, c)
			}
		}
		if first, last := w.cells[0], w.cells[len(w.cells)-1]; first != last && (first.y < last.y) == w.back {
			t.Errorf("the arrow from %s to %s leads the wrong way", w.edge.From, w.edge.To)
		}
	}
	const slack = 0.01
	for i, a := range cells {
		if a.x-a.w/2 < -slack || a.x+a.w/2 > d.w+slack || a.y-a.h/2 < -slack || a.y+a.h/2 > d.h+slack {
			t.Errorf("a cell stands outside: %+v of %v × %v", *a, d.w, d.h)
		}
		for _, b := range cells[i+1:] {
			if a.x-a.w/2 < b.x+b.w/2-slack && b.x-b.w/2 < a.x+a.w/2-slack && a.y-a.h/2 < b.y+b.h/2-slack && b.y-b.h/2 < a.y+a.h/2-slack {
				t.Errorf("two cells overlap: %q and %q", a.label, b.label)
			}
		}
		for _, inner := range a.inner {
			apart(t, inner)
			if inner.x < 0 || inner.x+inner.w > a.w || inner.y+inner.h > a.h {
				t.Errorf("the branches of %s do not fit into their box", a.node.ID)
			}
		}
	}
}

func wellFormed(t tester, text string) {
	t.Helper()
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Errorf("it is not XML: %v", err)
			return
		}
	}
}

func TestFormats(t *testing.T) {
	d := definition(t, fan)
	g := Of(d, map[string]Mark{"Fan/0/Pay": Done, "Fan": Current})
	svg, mermaid, dot := g.SVG(), g.Mermaid(), g.DOT()
	if svg != Of(d, map[string]Mark{"Fan": Current, "Fan/0/Pay": Done}).SVG() {
		t.Error("the same graph is drawn in two ways")
	}
	wellFormed(t, svg)
	for text, wants := range map[string][]string{
		svg:     {">Check<", ">Tell<", "stroke-dasharray", "&lt;&amp;&gt;", "is here", palette[Done].fill},
		mermaid: {"flowchart TD", "subgraph", `"Tell<br/><small>tell</small>"`, "-.->", ":::done", "class s2 current", "otherwise"},
		dot:     {`digraph "fan.v1"`, "style=dashed", `ltail="cluster Fan"`, `"Fan/1/Each/*/Tell"`},
	} {
		for _, want := range wants {
			if !strings.Contains(text, want) {
				t.Errorf("%q is not in\n%s", want, text)
			}
		}
	}
}

func TestMarks(t *testing.T) {
	d := definition(t, fan)
	steps := []Step{
		{"Check", "chose", "Fan"}, {"Fan", "entered", "2 branches"}, {"Fan/0/Pay", "entered", ""}, {"Fan/0/Pay", "succeeded", ""},
		{"Fan/1/Each", "entered", "2 branches"}, {"Fan/1/Each/0/Tell", "succeeded", ""}, {"Fan/1/Each/0/Nap", "waiting", "until"}, {"Fan/1/Each/1/Tell", "retry", "busy"},
	}
	for name, c := range map[string]struct {
		steps         []Step
		state         string
		parked, ended bool
		want          map[string]Mark
	}{
		"under way": {steps, "Fan", false, false, map[string]Mark{
			"Check": Done, "Fan": Current, "Fan/0/Pay": Done, "Fan/0/Confirm": Current, "Fan/1/Each": Current, "Fan/1/Each/*/Tell": Current, "Fan/1/Each/*/Nap": Current,
		}},
		"parked": {steps[:1], "Fan", true, false, map[string]Mark{"Check": Done, "Fan": Failed}},
		"ended": {append(steps[:4:4], Step{"Fan/0/Confirm", "caught", "no"}, Step{"Fan/0/Undo", "ended", ""}, Step{"Fan", "caught", "States.BranchFailed"}, Step{"Done", "ended", ""}),
			"archived", false, true, map[string]Mark{
				"Check": Done, "Fan": Failed, "Fan/0/Pay": Done, "Fan/0/Confirm": Failed, "Fan/0/Undo": Failed, "Done": Done,
			}},
		"another definition": {[]Step{{"Gone/0/Else/3/X", "passed", ""}}, "Nowhere/1/Y", false, false, map[string]Mark{"Gone/0/Else/3/X": Done, "Nowhere/1/Y": Current}},
	} {
		if got := Marks(d, c.steps, c.state, c.parked, c.ended); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}
