package message_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/schemas"
)

func TestShippedTypes(t *testing.T) {
	c := catalog(t)
	if got := strings.Join(c.Types(), " "); got != "call.v1 note.v1 transfer.v1" {
		t.Errorf("the types are %s", got)
	}
	name, fields, err := c.Struct("transfer.v1")
	if err != nil || name != "Transfer" || len(fields) != 10 || fields[0] != (message.Field{Name: "id", Type: "string"}) || fields[6].Type != "address" {
		t.Errorf("the struct is %s %v, %v", name, fields, err)
	}
	if _, err := c.Schema("transfer.v9"); err == nil || !strings.Contains(err.Error(), "transfer.v1") {
		t.Errorf("an unknown type: %v", err)
	}
	if source, err := c.Schema("note.v1"); err != nil || !strings.Contains(string(source), `"title": "Note"`) {
		t.Errorf("the schema is %s, %v", source, err)
	}
}

// A mistake in a schema file is refused when it is loaded, with the file and the field.
func TestCatalogRefused(t *testing.T) {
	for change, want := range map[[2]string]string{
		{`draft/2020-12`, `draft-07`}:                                                                        "$schema",
		{`"additionalProperties": false,`, ``}:                                                               "additionalProperties",
		{`"type": "object"`, `"type": "array"`}:                                                              `type: want "object"`,
		{`"x-eip712"`, `"x-other"`}:                                                                          "x-eip712: missing",
		{`"name": "Everything"`, `"name": "EIP712Domain"`}:                                                   "taken by EIP-712",
		{`"name": "Everything"`, `"name": "Every thing"`}:                                                    "not an identifier",
		{`"name": "a", "type": "string"`, `"name": "id", "type": "string"`}:                                  `"id": the name is not an identifier, or is there twice`,
		{`"name": "a", "type": "string"`, `"name": "z", "type": "string"`}:                                   `field "z": there is no property of that name`,
		{`"name": "a", "type": "string"`, `"name": "a", "type": "string[]"`}:                                 `field "a": the type "string[]"`,
		{`"type": "uint8"`, `"type": "uint7"`}:                                                               `field "d": the type "uint7"`,
		{`"type": "uint8"`, `"type": "uint08"`}:                                                              `field "d": the type "uint08"`,
		{`"type": "uint8"`, `"type": "int8"`}:                                                                `field "d": the type "int8"`,
		{`"type": "bytes32"`, `"type": "bytes33"`}:                                                           `field "g": the type "bytes33"`,
		{`"type": "bytes32"`, `"type": "Person"`}:                                                            `field "g": the type "Person"`,
		{`"name": "a", "type": "string"`, `"nam": "a", "type": "string"`}:                                    "x-eip712",
		{`{"name": "a", "type": "string"},`, ``}:                                                             `the property "a" is not a field`,
		{`"a": {"type": "string"}`, `"a": {"type": "integer"}`}:                                              `field "a": the EIP-712 type string wants the JSON type "string"`,
		{`"b": {"type": "string", "format": "evm-address"}`, `"b": {"type": "string"}`}:                      `field "b": the EIP-712 type address wants the format evm-address`,
		{`"format": "evm-selector"`, `"format": "selector"`}:                                                 `field "f": nobody knows the format "selector"`,
		{`"required": ["a", "b",`, `"required": ["a",`}:                                                      `field "b": the EIP-712 type address has no value`,
		{`"required": ["a",`, `"required": ["zz",`}:                                                          `required: there is no property "zz"`,
		{`"i": {"type": "string", "default": ""}`, `"i": {"type": "string"}`}:                                `field "i": it is optional: want the default ""`,
		{`"i": {"type": "string", "default": ""}`, `"i": {"type": "string", "default": "", "minLength": 1}`}: `field "i": it is optional, and the schema refuses its default`,
		{`"type": "string", "default": ""`, `"$ref": "https://example.org/x.json"`}:                          "stands alone",
		{`"type": "string", "default": ""`, `"type": "string", "default": "", "pattern": "("`}:               "pattern",
		{`}}}`, `}}`}: "at byte",
	} {
		text := strings.Replace(everyType, change[0], change[1], 1)
		if text == everyType {
			t.Fatalf("%q is not in the schema", change[0])
		}
		_, err := message.NewCatalog(fstest.MapFS{"everything.v1.json": {Data: []byte(text)}})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "everything.v1.json") {
			t.Errorf("%s: got %v, want %s", change[1], err, want)
		}
	}
	for name, want := range map[string]string{"everything.json": "not a message type", "Everything.v1.json": "not a message type", "readme.txt": "there is no schema"} {
		if _, err := message.NewCatalog(fstest.MapFS{name: {Data: []byte(everyType)}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
	if _, err := message.NewCatalog(schemas.FS()); err != nil {
		t.Error(err)
	}
}
