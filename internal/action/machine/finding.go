package machine

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/avalhq/aval/internal/problem"
)

// Finding is a fault of a definition, with its place and what to do about it.
type Finding struct {
	Line    int    `json:"line"`    // from 1
	Column  int    `json:"column"`  // from 1, in characters
	Warning bool   `json:"warning"` // the definition can be used all the same
	Text    string `json:"text"`
}

// Findings are in the order of their places. As an error they are those that are no warnings.
type Findings []Finding

// Error lists the errors, each with its place.
func (f Findings) Error() string { return strings.Join(f.Errors().In(""), "; ") }

// Errors are the findings because of which the definition is refused.
func (f Findings) Errors() Findings {
	return slices.DeleteFunc(slices.Clone(f), func(one Finding) bool { return one.Warning })
}

// In lists the findings as file:line:column: text, as editors read it. Without a file the place alone stands before the text.
func (f Findings) In(file string) []string {
	var lines []string
	if file != "" {
		file += ":"
	}
	for _, one := range f {
		kind := ""
		if one.Warning {
			kind = "warning: "
		}
		lines = append(lines, fmt.Sprintf("%s%d:%d: %s%s", file, one.Line, one.Column, kind, one.Text))
	}
	return lines
}

// sorted puts the findings in order, each once.
func (f Findings) sorted() Findings {
	slices.SortStableFunc(f, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), strings.Compare(a.Text, b.Text))
	})
	return slices.Compact(f)
}

// Refused is the error for a definition with faults; file is where it was read. The findings can be had with errors.As.
func (f Findings) Refused(file string) error {
	return problem.New(problem.Invalid, "workflow-invalid", "the workflow cannot be used: %w", refusal{f, file})
}

// refusal are findings that are told with their file.
type refusal struct {
	findings Findings
	file     string
}

// Error lists the errors with their file.
func (r refusal) Error() string { return strings.Join(r.findings.Errors().In(r.file), "; ") }

// Unwrap gives the findings.
func (r refusal) Unwrap() error { return r.findings }
