package message

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/avalhq/aval/internal/problem"
)

const maxViolations = 5 // that a refusal lists

// validate holds a body against its schema. The refusal names paths and rules, never a value: it may be shown and logged.
func (t *messageType) validate(body map[string]any) error {
	err := t.schema.Validate(body)
	if err == nil {
		if err := t.checkWidths(body); err != nil {
			return err
		}
		return t.checkCall(body)
	}
	var violation *jsonschema.ValidationError
	if !errors.As(err, &violation) {
		return problem.New(problem.Internal, "schema-failed", "the schema of %s cannot be applied: %w", t.name, err)
	}
	var found []string
	absurd := true // unless a rule of another kind is broken as well
	walk(violation, func(path string, k jsonschema.ErrorKind) {
		f, ok := k.(*kind.Format)
		absurd = absurd && ok && errors.Is(f.Err, errAbsurd)
		found = append(found, path+" "+describe(k))
	})
	slices.Sort(found)
	found = slices.Compact(found)
	if len(found) > maxViolations {
		found = append(found[:maxViolations], fmt.Sprintf("and %d more", len(found)-maxViolations))
	}
	list := strings.Join(found, "; ")
	if absurd {
		return problem.New(problem.Unprocessable, "amount-absurd", "the body of this %s cannot be meant: %s", t.name, list)
	}
	return problem.New(problem.Invalid, "message-invalid", "the body is not what the schema of %s asks for: %s", t.name, list)
}

// checkWidths is what the EIP-712 types say beside the schema: uint8 ends at 255, bytes4 has 4 bytes.
func (t *messageType) checkWidths(body map[string]any) error {
	for _, p := range t.body {
		if v, there := body[p.Name]; there && p.width != nil {
			if _, err := p.width(v); err != nil {
				return problem.New(problem.Invalid, "message-invalid", "the body is not what the schema of %s asks for: body.%s %w", t.name, p.Name, err)
			}
		}
	}
	return nil
}

// walk visits the leaves of a validation error: the rules that were broken.
func walk(e *jsonschema.ValidationError, visit func(path string, k jsonschema.ErrorKind)) {
	if len(e.Causes) == 0 {
		path := "body"
		for _, step := range e.InstanceLocation {
			path += "." + strings.Trim(quote(step), `"`)
		}
		visit(path, e.ErrorKind)
	}
	for _, cause := range e.Causes {
		walk(cause, visit)
	}
}

// describe says what a rule wants. It must not use what the rule got.
func describe(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Format:
		return k.Err.Error()
	case *kind.Type:
		return "must be a " + strings.Join(k.Want, " or ")
	case *kind.Required:
		return "lacks " + quoteAll(k.Missing)
	case *kind.AdditionalProperties:
		return "has the unknown field " + quoteAll(k.Properties)
	case *kind.MinLength:
		return fmt.Sprintf("must have %d characters or more (minLength)", k.Want)
	case *kind.MaxLength:
		return fmt.Sprintf("must have %d characters or fewer (maxLength)", k.Want)
	case *kind.Pattern:
		return fmt.Sprintf("must match %s (pattern)", k.Want)
	case *kind.Enum:
		return fmt.Sprintf("must be one of %v (enum)", k.Want)
	}
	return "breaks the rule " + strings.Join(k.KeywordPath(), "/")
}

func quoteAll(names []string) string {
	quoted := make([]string, 0, len(names))
	for _, name := range names[:min(len(names), maxViolations)] {
		quoted = append(quoted, quote(name))
	}
	return strings.Join(quoted, ", ")
}
