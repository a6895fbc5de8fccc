package controlpoint

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

const maxViolations = 5 // that a refusal lists

// schema compiles the JSON Schema (draft 2020-12) at a node; nil where there is none. It stands alone: it refers to no file
// and no address.
func (d *decoder) schema(n *yaml.Node, path string) *jsonschema.Schema {
	if n.Kind == 0 {
		return nil
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	c.UseLoader(alone{})
	const url = "urn:aval:control-point"
	err := c.AddResource(url, d.constant(n, path))
	var compiled *jsonschema.Schema
	if err == nil {
		compiled, err = c.Compile(url)
	}
	if err != nil {
		d.mistake(n, "%s is no JSON Schema: %v", path, err)
	}
	return compiled
}

// alone refuses to load.
type alone struct{}

// Load refuses.
func (alone) Load(url string) (any, error) {
	return nil, fmt.Errorf("the schema refers to %s; write it out here", url)
}

// fits holds a value against a schema. The error names places and rules, never a value.
func fits(schema *jsonschema.Schema, v any) error {
	if schema == nil {
		return nil
	}
	err := schema.Validate(v)
	var violation *jsonschema.ValidationError
	if !errors.As(err, &violation) {
		return err
	}
	var found []string
	leaves(violation, &found)
	slices.Sort(found)
	found = slices.Compact(found)
	if len(found) > maxViolations {
		found = append(found[:maxViolations], fmt.Sprintf("and %d more", len(found)-maxViolations))
	}
	return errors.New(strings.Join(found, "; "))
}

func leaves(e *jsonschema.ValidationError, found *[]string) {
	if len(e.Causes) == 0 {
		*found = append(*found, fmt.Sprintf("%.80q breaks the rule %s", "/"+strings.Join(e.InstanceLocation, "/"), strings.Join(e.ErrorKind.KeywordPath(), "/")))
	}
	for _, cause := range e.Causes {
		leaves(cause, found)
	}
}
