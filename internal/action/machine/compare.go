package machine

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/avalhq/aval/internal/action/machine/value"
)

// Comparison is how one definition differs from another in what messages do. Comments, order and notation (YAML or JSON, blanks
// around an expression, a default that is written or left out) make no difference.
type Comparison struct {
	Changes   []Change   `json:"changes"`   // of the workflow first, then by state
	Obstacles []Obstacle `json:"obstacles"` // by state; a message that stands in one of these cannot go on in the other definition
}

// Change is one difference. A state within a branch has the way to it for a name: "Fan/0/Pay", and "Each/*/Pay" within a Map.
type Change struct {
	State string     `json:"state,omitempty"` // empty: of the workflow itself
	Kind  ChangeKind `json:"kind"`
	Field string     `json:"field,omitempty"` // of Changed: "Next", "Retry[0].MaxAttempts"
	From  string     `json:"from,omitempty"`  // JSON; empty where there was nothing; of Removed, the type
	To    string     `json:"to,omitempty"`    // JSON; empty where there is nothing; of Added, the type
}

// ChangeKind says what became of a state or a field.
type ChangeKind string

// The kinds.
const (
	Added   ChangeKind = "added"
	Removed ChangeKind = "removed"
	Changed ChangeKind = "changed"
)

// Obstacle is why a message that stands in a state cannot go on there in the other definition.
type Obstacle struct {
	State string `json:"state"`
	Why   string `json:"why"`
}

// Blocks tells why a message that stands in the state cannot go on in the other definition; "" when it can.
func (c Comparison) Blocks(state string) string {
	for _, o := range c.Obstacles {
		if o.State == state {
			return o.Why
		}
	}
	return ""
}

// Compare tells how b differs from a.
func Compare(a, b *Definition) (Comparison, error) {
	before, err := outlineOf(a)
	if err != nil {
		return Comparison{}, err
	}
	after, err := outlineOf(b)
	if err != nil {
		return Comparison{}, err
	}
	c := Comparison{Changes: []Change{}, Obstacles: []Obstacle{}}
	c.differ("", "", before.top, after.top)
	names := map[string]bool{}
	for _, states := range []map[string]map[string]any{before.states, after.states} {
		for name := range states {
			names[name] = true
		}
	}
	for _, name := range sorted(names) {
		c.state(name, before.states[name], after.states[name])
	}
	return c, nil
}

func (c *Comparison) state(name string, from, to map[string]any) {
	switch {
	case to == nil:
		c.Changes = append(c.Changes, Change{State: name, Kind: Removed, From: text(from["Type"])})
		c.Obstacles = append(c.Obstacles, Obstacle{name, "it is not there any more"})
	case from == nil:
		c.Changes = append(c.Changes, Change{State: name, Kind: Added, To: text(to["Type"])})
	default:
		c.differ(name, "", from, to)
		if why := obstacle(from, to); why != "" {
			c.Obstacles = append(c.Obstacles, Obstacle{name, why})
		}
	}
}

// obstacle compares what a message leaves and finds: where it stands holds for one type of state, one action, one language and one set
// of branches.
func obstacle(from, to map[string]any) string {
	for _, field := range []struct{ name, is string }{
		{"Type", "its type was %s and is %s"}, {"Resource", "its action was %s and is %s: what was begun may have had its effect"},
		{"QueryLanguage", "its data was in %s and is in %s"}, {branchCount, "it had %s branches and has %s"},
	} {
		if !value.Equal(from[field.name], to[field.name]) {
			return fmt.Sprintf(field.is, text(from[field.name]), text(to[field.name]))
		}
	}
	return ""
}

// text is a string as it is, and any other value as JSON.
func text(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	raw, _ := encode(v) // it was read from JSON
	return string(raw)
}

// differ lists the differences of two values: member by member, element by element.
func (c *Comparison) differ(state, field string, from, to any) {
	f, isObject := from.(map[string]any)
	t, also := to.(map[string]any)
	if isObject && also {
		keys := maps.Clone(f)
		maps.Copy(keys, t)
		for _, key := range sorted(keys) {
			l, had := f[key]
			r, has := t[key]
			c.part(state, strings.TrimPrefix(field+"."+key, "."), l, r, had, has)
		}
		return
	}
	list, isList := from.([]any)
	other, also := to.([]any)
	if isList && also && len(list)+len(other) > 0 {
		for i := range max(len(list), len(other)) {
			var l, r any
			if i < len(list) {
				l = list[i]
			}
			if i < len(other) {
				r = other[i]
			}
			c.part(state, fmt.Sprintf("%s[%d]", field, i), l, r, i < len(list), i < len(other))
		}
		return
	}
	if !value.Equal(from, to) {
		c.Changes = append(c.Changes, Change{State: state, Kind: Changed, Field: field, From: written(from), To: written(to)})
	}
}

func (c *Comparison) part(state, field string, from, to any, had, has bool) {
	switch {
	case had && has:
		c.differ(state, field, from, to)
	case had:
		c.Changes = append(c.Changes, Change{State: state, Kind: Changed, Field: field, From: written(from)})
	default:
		c.Changes = append(c.Changes, Change{State: state, Kind: Changed, Field: field, To: written(to)})
	}
}

func written(v any) string {
	raw, _ := encode(v) // it was read from JSON
	return string(raw)
}

// outline is a definition as it is compared.
type outline struct {
	top    map[string]any
	states map[string]map[string]any
}

// branchCount is where an outline has the number of a state's branches.
const branchCount = "Branches"

func outlineOf(d *Definition) (outline, error) {
	raw, err := JSON(d.Source)
	if err != nil {
		return outline{}, err
	}
	v, err := value.Decode(raw)
	top, _ := v.(map[string]any)
	if err != nil || top == nil {
		return outline{}, fmt.Errorf("the definition %s is not an object: %w", d.Ref(), err)
	}
	o := outline{states: map[string]map[string]any{}}
	language, _ := top["QueryLanguage"].(string)
	if language == "" {
		language = languagePath
	}
	o.read(top, "", language)
	for _, field := range []string{"QueryLanguage", "Comment", "Version", "States"} {
		delete(top, field)
	}
	o.top = top
	return o, nil
}

// read takes up the states of the workflow or of a branch.
func (o *outline) read(of map[string]any, prefix, language string) {
	states, _ := of["States"].(map[string]any)
	for name, v := range states {
		st, _ := v.(map[string]any)
		o.state(prefix+name, st, language)
	}
}

func (o *outline) state(name string, st map[string]any, language string) {
	if own, ok := st["QueryLanguage"].(string); ok {
		language = own
	}
	fields := map[string]any{"QueryLanguage": language}
	for field, v := range st {
		switch field {
		case "Comment", "ItemProcessor", "Iterator", "Branches", "Label":
		case "Retry":
			fields[field] = retries(v)
		case "Catch", "Choices":
			fields[field] = plainly(v)
		case "End":
			if v == true {
				fields[field] = v
			}
		default:
			fields[field] = trimmed(v)
		}
	}
	branches, _ := st["Branches"].([]any)
	for i, b := range branches {
		o.branch(fmt.Sprintf("%s/%d/", name, i), b, fields, language)
	}
	for _, field := range []string{"ItemProcessor", "Iterator"} {
		if b, ok := st[field]; ok {
			branches = append(branches, b)
			o.branch(name+"/*/", b, fields, language)
		}
	}
	if len(branches) > 0 {
		fields[branchCount] = json.Number(fmt.Sprint(len(branches)))
	}
	o.states[name] = fields
}

func (o *outline) branch(prefix string, v any, fields map[string]any, language string) {
	b, _ := v.(map[string]any)
	fields["StartAt "+strings.TrimSuffix(prefix, "/")] = b["StartAt"]
	o.read(b, prefix, language)
}

// retries are a Retry with what the language assumes where it does not say.
func retries(v any) any {
	list, _ := plainly(v).([]any)
	for i := range list {
		r, _ := list[i].(map[string]any)
		full := map[string]any{"IntervalSeconds": json.Number("1"), "MaxAttempts": json.Number("3"), "BackoffRate": json.Number("2"), "JitterStrategy": "NONE"}
		maps.Copy(full, r)
		list[i] = full
	}
	return list
}

// plainly leaves out the comments of a list's entries.
func plainly(v any) any {
	list, ok := trimmed(v).([]any)
	if !ok {
		return v
	}
	for _, entry := range list {
		if object, ok := entry.(map[string]any); ok {
			delete(object, "Comment")
		}
	}
	return list
}

// trimmed is a value with its expressions in one notation.
func trimmed(v any) any {
	switch v := v.(type) {
	case string:
		inner, ok := strings.CutPrefix(strings.TrimSpace(v), "{%")
		if ok && strings.HasSuffix(inner, "%}") {
			return "{% " + strings.TrimSpace(strings.TrimSuffix(inner, "%}")) + " %}"
		}
		return v
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, member := range v {
			out[key] = trimmed(member)
		}
		return out
	case []any:
		out := slices.Clone(v)
		for i := range out {
			out[i] = trimmed(out[i])
		}
		return out
	}
	return v
}
