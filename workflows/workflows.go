// Package workflows holds the workflow definitions that ship with Aval. A file's name is the message type that it serves.
package workflows

import "embed"

//go:embed *.yaml
var files embed.FS

// FS gives the definitions, one YAML file each.
func FS() embed.FS { return files }
