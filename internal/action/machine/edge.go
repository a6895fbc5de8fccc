package machine

import "strings"

// Edge leads from a state to one that may follow.
type Edge struct {
	To    string
	Kind  EdgeKind
	Label string // of a choice, its condition; of a catch, the names of the errors
	path  []any  // in the source of the state
}

// EdgeKind says when a state is followed by the other.
type EdgeKind string

// The kinds.
const (
	OnNext    EdgeKind = "next"
	OnChoice  EdgeKind = "choice"
	OnDefault EdgeKind = "default"
	OnCatch   EdgeKind = "catch"
)

// Edges lists where the state leads to, in the order in which it is decided.
func (st *State) Edges() []Edge {
	var all []Edge
	if st.Next != "" {
		all = append(all, Edge{To: st.Next, Kind: OnNext, path: []any{"Next"}})
	}
	for i, r := range st.Choices {
		all = append(all, Edge{To: r.Next, Kind: OnChoice, Label: r.String(), path: []any{"Choices", i, "Next"}})
	}
	if st.Default != "" {
		all = append(all, Edge{To: st.Default, Kind: OnDefault, path: []any{"Default"}})
	}
	for i, c := range st.Catch {
		all = append(all, Edge{To: c.Next, Kind: OnCatch, Label: strings.Join(c.Errors, ", "), path: []any{"Catch", i, "Next"}})
	}
	return all
}

// String is the rule's condition as it can be read.
func (r Rule) String() string {
	if r.test != nil {
		return r.test.String()
	}
	if r.condition != nil {
		return r.condition.source
	}
	return ""
}

// String is the condition in short: $.amount NumericGreaterThan 5.
func (c *condition) String() string {
	var parts []string
	for _, part := range c.parts {
		parts = append(parts, part.String())
	}
	switch {
	case c.operator == "Not":
		return "not " + strings.Join(parts, "")
	case c.variable == nil:
		return "(" + strings.Join(parts, " "+strings.ToLower(c.operator)+" ") + ")"
	case c.from != nil:
		return c.variable.String() + " " + c.operator + " " + c.from.String()
	}
	operand, _ := encode(c.operand) // what was read from the definition
	return c.variable.String() + " " + c.operator + " " + string(operand)
}
