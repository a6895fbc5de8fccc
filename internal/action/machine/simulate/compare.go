package simulate

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/avalhq/aval/internal/action/machine/value"
)

// blank is what a recorder puts in the place of values that differ from one recording to the next: <name> or <name:1>.
var blank = regexp.MustCompile(`<[A-Za-z_][\w -]*(:\d+)?>`)

// field is what a recorder puts in the place of a whole value that it leaves out: the name of the field of its event.
var field = regexp.MustCompile(`^[a-z]\w*EventDetails\.\w+$`)

// Difference is the first place where got is not what was wanted, as a sentence; empty when there is none. A string that holds
// a JSON object or array equals that value, and a string with a blank in it every string. Loosely, times and the names of
// simulated executions equal any string.
func Difference(got, want any, loosely bool) string { return differ("$", got, want, loosely) }

func differ(path string, got, want any, loosely bool) string {
	switch w := want.(type) {
	case map[string]any:
		if g, ok := opened(got).(map[string]any); ok {
			return differObjects(path, g, w, loosely)
		}
	case []any:
		if g, ok := opened(got).([]any); ok {
			return differLists(path, g, w, loosely)
		}
	case string:
		if field.MatchString(w) || same(got, w, loosely) {
			return ""
		}
		if v, ok := opened(want).(string); !ok || v != w {
			return differ(path, opened(got), opened(want), loosely)
		}
	default:
		if value.Equal(got, want) {
			return ""
		}
	}
	return fmt.Sprintf("%s is %s, want %s", path, brief(got), brief(want))
}

func differObjects(path string, got, want map[string]any, loosely bool) string {
	for _, key := range value.Keys(want) {
		g, ok := got[key]
		if !ok {
			return fmt.Sprintf("%s.%s is not there, want %s", path, key, brief(want[key]))
		}
		if d := differ(path+"."+key, g, want[key], loosely); d != "" {
			return d
		}
	}
	for _, key := range value.Keys(got) {
		if _, ok := want[key]; !ok {
			return fmt.Sprintf("%s.%s is %s, and should not be there", path, key, brief(got[key]))
		}
	}
	return ""
}

func differLists(path string, got, want []any, loosely bool) string {
	for i := range min(len(got), len(want)) {
		if d := differ(fmt.Sprintf("%s[%d]", path, i), got[i], want[i], loosely); d != "" {
			return d
		}
	}
	if len(got) != len(want) {
		return fmt.Sprintf("%s has %d elements, want %d", path, len(got), len(want))
	}
	return ""
}

func same(got any, want string, loosely bool) bool {
	text, ok := got.(string)
	if !ok {
		return false
	}
	_, err := time.Parse(time.RFC3339, text)
	return text == want || blank.MatchString(want) || loosely && (err == nil || strings.HasPrefix(text, simulated))
}

// opened is the object or array that a string holds; everything else stays as it is.
func opened(v any) any {
	s, ok := v.(string)
	if !ok || !strings.HasPrefix(s, "{") && !strings.HasPrefix(s, "[") {
		return v
	}
	inner, err := value.Decode([]byte(s))
	if err != nil {
		return v
	}
	return inner
}

func brief(v any) string {
	raw, err := value.Encode(v, 1<<20)
	if err != nil {
		raw = json.RawMessage(fmt.Sprintf("%T", v))
	}
	if len(raw) > 200 {
		return fmt.Sprintf("%s… (%d bytes)", raw[:200], len(raw))
	}
	return string(raw)
}
