package config_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/avalhq/aval/internal/config"
)

var update = flag.Bool("update", false, "write example.yaml anew")

const heading = `# Configuration of Aval. Every field stands here with its default; leave out what you do not change.
# Durations are written as 500ms, 30s, 5m, 24h.

`

// The example is rendered from the doc comments of the struct and the values of Default, so that neither can drift.
func TestExampleIsTheStruct(t *testing.T) {
	comments := map[string]string{}
	for _, name := range []string{"config.go", "cluster.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(comments, docs(file))
	}
	want := heading + render(t, comments, reflect.ValueOf(config.Default()), "")
	if *update {
		if err := os.WriteFile("example.yaml", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if config.Example() != want {
		t.Error("example.yaml is not what the structs say; run go generate ./internal/config")
	}
}

func TestExampleIsTheDefault(t *testing.T) {
	c, err := config.Parse(config.Default(), "example.yaml", []byte(config.Example()))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c, config.Default()) {
		t.Errorf("the example decodes to %+v", c)
	}
	if err := c.Validate(); err != nil {
		t.Errorf("the default does not hold: %v", err)
	}
}

// docs maps "Struct.Field" to its comment.
func docs(file *ast.File) map[string]string {
	found := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if s, ok := spec.Type.(*ast.StructType); ok {
			for _, field := range s.Fields.List {
				found[spec.Name.Name+"."+field.Names[0].Name] = field.Doc.Text()
			}
		}
		return false
	})
	return found
}

func render(t *testing.T, docs map[string]string, v reflect.Value, indent string) string {
	t.Helper()
	var out strings.Builder
	for i := range v.NumField() {
		field := v.Type().Field(i)
		doc := docs[v.Type().Name()+"."+field.Name]
		if doc == "" {
			t.Errorf("%s.%s has no comment, and the manual nothing to say", v.Type().Name(), field.Name)
		}
		if i > 0 {
			out.WriteString("\n")
		}
		for line := range strings.Lines(doc) {
			out.WriteString(indent + "# " + line)
		}
		name := indent + field.Tag.Get("yaml") + ":"
		if field.Type.Kind() == reflect.Struct {
			out.WriteString(name + "\n" + render(t, docs, v.Field(i), indent+"  "))
			continue
		}
		value := fmt.Sprint(v.Field(i).Interface())
		switch {
		case value == "":
			value = `""`
		case value == "map[]":
			value = "{}"
		case strings.HasSuffix(value, "h0m0s"):
			value = strings.TrimSuffix(value, "0m0s")
		}
		out.WriteString(name + " " + value + "\n")
	}
	return out.String()
}
