package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/avalhq/aval/internal/config"
)

// The commands that the documents show are commands: they parse, and what they set can be set.
func TestCommandsInTheDocuments(t *testing.T) {
	shown := 0
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == "bin" || entry.Name() == ".git") {
			return first(err, fs.SkipDir)
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		raw, err := os.ReadFile(path)
		number := 0
		for line := range strings.Lines(string(raw)) {
			number++
			words, ok := commandLine(line)
			if !ok {
				continue
			}
			shown++
			if err := parses(words); err != nil {
				t.Errorf("%s:%d: %v", path, number, err)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if shown < 20 {
		t.Errorf("only %d commands were found", shown)
	}
}

func first(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// commandLine takes a shown command apart, as far as a shell would have to: quotes, comments, pipes and redirections.
func commandLine(line string) (words []string, ok bool) {
	line = strings.TrimPrefix(strings.TrimSpace(line), "$ ")
	if !strings.HasPrefix(line, "aval ") {
		return nil, false
	}
	word, quoted := "", false
	for _, r := range line + " " {
		switch {
		case r == '\'':
			quoted = !quoted
		case quoted || r != ' ':
			word += string(r)
		default:
			if strings.HasPrefix(word, "#") || word == "|" || word == ">" || word == "&&" {
				return words, true
			}
			if word != "" {
				words = append(words, word)
			}
			word = ""
		}
	}
	return words, !quoted
}

func parses(words []string) error {
	var c cli
	parser, err := kong.New(&c, kong.Name("aval"), kong.Vars{"profile": defaultProfile}, kong.Exit(func(int) {}))
	if err != nil {
		return err
	}
	if _, err := parser.Parse(words[1:]); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(words, " "), err)
	}
	settings := config.Default()
	for _, pair := range append(c.Dev.Set, c.Serve.Set...) {
		field, value, _ := strings.Cut(pair, "=")
		if err := settings.Set(field, value); err != nil {
			return err
		}
	}
	return nil
}
