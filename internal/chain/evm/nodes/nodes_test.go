package nodes_test

import (
	"os"
	"strings"
	"testing"

	"github.com/avalhq/aval/internal/chain/evm/nodes"
)

// What is installed is what is looked for: the Makefile builds geth, the lock file pins anvil.
func TestTheVersionsAreThoseThatAreInstalled(t *testing.T) {
	for file, want := range map[string]string{
		"../../../../Makefile": "GETH_VERSION := " + nodes.GethVersion + "\n",
		"package-lock.json":    `"@foundry-rs/anvil": "` + nodes.AnvilVersion + `"`,
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), want) {
			t.Errorf("%s does not say %s", file, want)
		}
	}
}

func TestAMissingProgramIsASentence(t *testing.T) {
	_, err := nodes.Geth(t.Context(), nodes.Options{Program: t.TempDir() + "/geth"})
	if err == nil || !strings.Contains(err.Error(), "cannot be started") {
		t.Errorf("a program that is not there: %v", err)
	}
	if _, err := nodes.Find("geth", "0.0.0"); err == nil || !strings.Contains(err.Error(), "make nodes") {
		t.Errorf("a version that is not there: %v", err)
	}
	if _, err = nodes.Geth(t.Context(), nodes.Options{Program: "/bin/true"}); err == nil || !strings.Contains(err.Error(), "ended before it listened") {
		t.Errorf("a program that is no node: %v", err)
	}
}
