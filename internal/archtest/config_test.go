package archtest

import "go/ast"

const configFolder = "internal/config"

func configRules() []rule {
	const field = "package config\n\ntype Config struct {\n\tData string `yaml:\"data\"`\n}\n"
	return []rule{{
		name: "configuration", why: "what can be configured has an effect", check: checkConfig,
		broken: []map[string]string{
			{"internal/config/c.go": field, "cmd/aval/a.go": "package main\n"},
			{"internal/config/c.go": field + "\nvar _ = c.Data\n", "cmd/aval/a_test.go": "package main\n\nvar _ = c.Data\n"},
		},
		kept: []map[string]string{{"internal/config/c.go": field, "cmd/aval/a.go": "package main\n\nvar _ = c.Data\n"}},
	}}
}

// checkConfig finds fields of the configuration that cmd, which hands the configuration to the rooms, does not read.
func checkConfig(m *module) []violation {
	read := map[string]bool{}
	for _, s := range m.program() {
		if !under(s.dir, "cmd") {
			continue
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			if selected, ok := n.(*ast.SelectorExpr); ok {
				read[selected.Sel.Name] = true
			}
			return true
		})
	}
	var found []violation
	for _, s := range m.program() {
		if s.dir != configFolder {
			continue
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			field, ok := n.(*ast.Field)
			if ok && field.Tag != nil && !read[field.Names[0].Name] {
				found = append(found, m.at(field, "cmd does not read the field %s", field.Names[0].Name))
			}
			return true
		})
	}
	return found
}
