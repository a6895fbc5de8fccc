package main

import (
	"io/fs"
	"testing"

	"github.com/avalhq/aval/internal/action/machine"
	"github.com/avalhq/aval/workflows"
)

// TestShippedWorkflowsAreGood: nothing is found in them, not even something to warn about.
func TestShippedWorkflowsAreGood(t *testing.T) {
	rules, err := shippedRules()
	if err != nil {
		t.Fatal(err)
	}
	files, err := fs.Glob(workflows.FS(), "*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are %d: %v", len(files), err)
	}
	for _, file := range files {
		source, err := fs.ReadFile(workflows.FS(), file)
		if err != nil {
			t.Fatal(err)
		}
		if _, found := machine.Review(workflowName(file), source, rules); len(found) > 0 {
			t.Errorf("%v", found.In(file))
		}
	}
}
