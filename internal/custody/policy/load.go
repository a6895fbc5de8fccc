package policy

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"regexp"

	"go.yaml.in/yaml/v3"

	"github.com/avalhq/aval/internal/expr"
	"github.com/avalhq/aval/internal/problem"
)

const maxFile = 1 << 20 // bytes of a policy

//go:embed default.yaml
var shipped []byte

// Default is the policy that ships with Aval: default.yaml, which is written to be read, and to be copied.
func Default() (*Policy, error) { return Load(shipped, "the shipped policy") }

// Load reads a policy from YAML: a list "rules" of name, effect (allow or deny) and when (a condition in CEL). It is strict,
// and says of everything it refuses the line in the file; name is the file's.
func Load(text []byte, name string) (*Policy, error) {
	p, err := load(text)
	if err != nil {
		return nil, problem.New(problem.Invalid, "policy-malformed", "%s: %w", name, err)
	}
	return p, nil
}

func load(text []byte) (*Policy, error) {
	root, err := parse(text)
	if err != nil {
		return nil, err
	}
	top, err := mapping(root, "the policy", "rules")
	if err != nil {
		return nil, err
	}
	if top["rules"].Kind != yaml.SequenceNode {
		return nil, fault(top["rules"].Line, "rules must be a list")
	}
	env, err := expr.NewEnv(names()...)
	if err != nil {
		return nil, err
	}
	p, seen := &Policy{}, map[string]bool{DefaultDeny: true}
	for _, node := range top["rules"].Content {
		r, err := readRule(node, env)
		if err != nil {
			return nil, err
		}
		if seen[r.name] {
			return nil, fault(node.Line, "the rule name %q is taken", r.name)
		}
		seen[r.name] = true
		if r.effect == Deny {
			p.deny = append(p.deny, r)
		} else {
			p.allow = append(p.allow, r)
		}
	}
	return p, nil
}

func parse(text []byte) (*yaml.Node, error) {
	if len(text) > maxFile {
		return nil, fmt.Errorf("the policy is larger than %d bytes", maxFile)
	}
	var document yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil, errors.New(`the policy is empty; one that denies everything is "rules: []"`)
	} else if err != nil {
		return nil, err
	}
	if err := decoder.Decode(&yaml.Node{}); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more than one YAML document; join them into one")
	}
	return document.Content[0], nil
}

var ruleName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

func readRule(node *yaml.Node, env *expr.Env) (rule, error) {
	fields, err := mapping(node, "a rule", "name", "effect", "when")
	if err != nil {
		return rule{}, err
	}
	for _, name := range []string{"name", "effect", "when"} {
		if f := fields[name]; f.Kind != yaml.ScalarNode {
			return rule{}, fault(f.Line, "%s must be a text", name)
		}
	}
	r := rule{name: fields["name"].Value, effect: Effect(fields["effect"].Value)}
	if !ruleName.MatchString(r.name) || len(r.name) > 100 {
		return r, fault(fields["name"].Line, "a rule's name has lower-case letters, digits and single hyphens")
	}
	if r.effect != Allow && r.effect != Deny {
		return r, fault(fields["effect"].Line, "the effect of rule %s must be allow or deny", r.name)
	}
	if r.when, err = env.Compile(fields["when"].Value); err != nil {
		return r, place(fields["when"], r.name, err)
	}
	return r, nil
}

// mapping gives the values of a node that has exactly the keys.
func mapping(node *yaml.Node, what string, keys ...string) (map[string]*yaml.Node, error) {
	if node.Kind != yaml.MappingNode {
		return nil, fault(node.Line, "%s must have the fields %v", what, keys)
	}
	out := map[string]*yaml.Node{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		known := false
		for _, k := range keys {
			known = known || key.Value == k
		}
		if !known {
			return nil, fault(key.Line, "unknown field %q; %s has %v", key.Value, what, keys)
		}
		if out[key.Value] != nil {
			return nil, fault(key.Line, "the field %q is there twice", key.Value)
		}
		out[key.Value] = value
	}
	for _, k := range keys {
		if out[k] == nil {
			return nil, fault(node.Line, "%s lacks the field %q", what, k)
		}
	}
	return out, nil
}

// place turns a place in an expression into the line of the file, where YAML keeps lines apart.
func place(node *yaml.Node, name string, err error) error {
	var at *expr.Error
	if !errors.As(err, &at) {
		return fault(node.Line, "rule %s: %w", name, err)
	}
	line := node.Line
	if node.Style&yaml.LiteralStyle != 0 {
		line += at.Line
	}
	return fault(line, "the condition of rule %s: %s", name, at.Message)
}

func fault(line int, format string, args ...any) error {
	return fmt.Errorf("line %d: "+format, append([]any{line}, args...)...)
}

// Source is the text of Default, to be shown and copied.
func Source() []byte { return bytes.Clone(shipped) }
