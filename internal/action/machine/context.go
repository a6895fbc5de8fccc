package machine

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/avalhq/aval/internal/action/machine/value"
)

// Execution is what the context object tells of a message on its way through a workflow.
type Execution struct {
	ID      string
	Name    string
	Role    string // on whose behalf it runs; empty: not told
	Started time.Time
}

// stamp is a time as the context object has it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// context is the context object, $$.
func (m *mover) context() (any, error) {
	if m.env.Context != nil {
		return value.Decode(m.env.Context)
	}
	execution := map[string]any{"Id": m.env.Execution.ID, "Name": m.env.Execution.Name, "StartTime": stamp(m.env.Execution.Started), "RedriveCount": json.Number("0")}
	if m.env.Execution.Role != "" {
		execution["RoleArn"] = m.env.Execution.Role
	}
	input, err := m.root.body()
	if err != nil {
		return nil, fmt.Errorf("the input of the execution: %w", err)
	}
	execution["Input"] = input
	state := map[string]any{"Name": m.place.State, "EnteredTime": stamp(m.entered())}
	c := map[string]any{"Execution": execution, "State": state, "StateMachine": map[string]any{"Id": m.def.Ref(), "Name": m.def.Name}}
	if st := m.states[m.place.State]; st != nil && st.Type == Task {
		state["RetryCount"] = json.Number(fmt.Sprint(max(m.place.Attempt-1, 0)))
		if token := m.token(st); token != "" {
			c["Task"] = map[string]any{"Token": token}
		}
	}
	if m.item != nil {
		c["Map"] = map[string]any{"Item": map[string]any{"Index": json.Number(fmt.Sprint(m.item.index)), "Value": m.item.value}}
	}
	return c, nil
}

// decoded is a message's body, decoded once while it stays in hand: each of thousands of branches may look at it.
type decoded struct {
	raw   json.RawMessage
	value any
}

// body is the input of the execution.
func (m *mover) body() (any, error) {
	raw := m.env.Body
	if len(raw) == 0 {
		return map[string]any{}, nil
	}
	if d := m.place.body; d != nil && len(d.raw) == len(raw) && &d.raw[0] == &raw[0] {
		return d.value, nil
	}
	v, err := value.Decode(raw)
	if err == nil {
		m.place.body = &decoded{raw, v}
	}
	return v, err
}

func (m *mover) entered() time.Time {
	if m.place.Entered == 0 {
		return m.env.Now
	}
	return time.UnixMicro(m.place.Entered)
}
