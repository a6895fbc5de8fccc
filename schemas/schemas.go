// Package schemas holds the message types that ship with Aval: one JSON Schema (draft 2020-12) a type, named <type>.json.
//
// A schema describes the body of a message, and is its documentation: each property has a description and examples. Its
// annotation "x-eip712" gives the struct that a client's wallet shows and signs. Adding a message type is adding a file
// (and a workflow of the same name): see NewCatalog of package message for what a file has to hold.
package schemas

import (
	"embed"
	"io/fs"
)

//go:embed *.json
var files embed.FS

// FS is the shipped schemas: <type>.json in its root.
func FS() fs.FS { return files }
