package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/avalhq/aval/internal/action/machine/simulate"
)

type workflowTest struct {
	File string `arg:"" help:"The cases, one JSON object a line; - reads the standard input."`
	Tier string `help:"Only the cases of this tier."`
}

// Help is shown by aval workflow test --help.
func (workflowTest) Help() string {
	return `Each case is a definition with an input, the outcomes of its Tasks, and what is expected:

    {"id": "fees", "definition": {…}, "input": {…}, "tasks": [{"state": "Pay", "outcome": {"output": {…}}}], "expect": {"status": "SUCCEEDED", "output": {…}}}

Nothing runs: Tasks answer with their outcomes, in order, and waiting takes no time. Each failure is printed with the first difference. The exit status is 1 when there is one.

    aval workflow test cases.jsonl`
}

// Run is the command.
func (c *workflowTest) Run(s *screen) error {
	source, err := readInput(c.File, s.in)
	if err != nil {
		return err
	}
	passed, failed, failures := 0, 0, []string{}
	lines := bufio.NewScanner(bytes.NewReader(source))
	lines.Buffer(nil, len(source)+1)
	for n := 1; lines.Scan(); n++ {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		var one simulate.Case
		err := json.Unmarshal(line, &one)
		if err == nil && c.Tier != "" && one.Tier != c.Tier {
			continue
		}
		if err == nil {
			err = one.Check()
		}
		if err == nil {
			passed++
			continue
		}
		failed++
		if one.ID == "" {
			one.ID = "a case"
		}
		failures = append(failures, fmt.Sprintf("%s (line %d): %v", one.ID, n, err))
	}
	s.answer(map[string]any{"passed": passed, "failed": failed, "failures": failures}, func() {
		for _, failure := range failures {
			s.say("%s", failure)
		}
		s.say("%d passed, %d failed", passed, failed)
	})
	if failed > 0 {
		return errTold
	}
	return nil
}
