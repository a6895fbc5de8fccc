package message

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/avalhq/aval/internal/problem"
)

// Catalog holds the message types of an installation. It is immutable and safe for concurrent use.
type Catalog struct {
	types  map[string]*messageType
	names  []string
	domain *flat
}

var typeName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,47}\.v[1-9][0-9]{0,3}$`)

// NewCatalog compiles the message types in the root of fsys: one file <type>.json each, for example transfer.v1.json.
//
// A file is a JSON Schema (draft 2020-12) of the message's body, a flat object that allows no other properties. Its
// annotation "x-eip712" gives the struct that wallets show and sign: a name, and the body's fields in order with their
// atomic types. Types and properties have to agree: string, address, bytes and uintN fields are strings in JSON, bool is
// boolean. A property that is not required has a "default", which is what its field holds when it is left out. The annotation
// "x-calldata" names the properties with a contract's call data and its declaration, which then have to agree (A12).
func NewCatalog(fsys fs.FS) (*Catalog, error) {
	domain, err := newFlat(domainType, domainFields())
	if err != nil {
		return nil, err
	}
	c := &Catalog{types: map[string]*messageType{}, domain: domain}
	paths, err := fs.Glob(fsys, "*.json")
	if err != nil {
		return nil, fmt.Errorf("listing the schemas: %w", err)
	}
	for _, path := range paths {
		source, err := fs.ReadFile(fsys, path)
		if err != nil {
			return nil, fmt.Errorf("reading the schema %s: %w", path, err)
		}
		name := strings.TrimSuffix(path, ".json")
		if c.types[name], err = newMessageType(name, source); err != nil {
			return nil, fmt.Errorf("schema %s: %w", path, err)
		}
		c.names = append(c.names, name)
	}
	if len(c.names) == 0 {
		return nil, errors.New("there is no schema: a message type is a file <type>.json, for example transfer.v1.json")
	}
	slices.Sort(c.names)
	return c, nil
}

// Types lists the message types in order.
func (c *Catalog) Types() []string { return slices.Clone(c.names) }

// Schema is the schema file of a type as it was read: its documentation.
func (c *Catalog) Schema(name string) (json.RawMessage, error) {
	t, err := c.find(name)
	if err != nil {
		return nil, err
	}
	return slices.Clone(t.source), nil
}

// Struct is the EIP-712 struct of a type: its name and all its fields in order, those of the envelope first.
func (c *Catalog) Struct(name string) (string, []Field, error) {
	t, err := c.find(name)
	if err != nil {
		return "", nil, err
	}
	return t.flat.name, slices.Clone(t.flat.fields), nil
}

func (c *Catalog) find(name string) (*messageType, error) {
	t, ok := c.types[name]
	if !ok {
		return nil, problem.New(problem.Invalid, "message-type-unknown", "there is no such message type; there are %s", strings.Join(c.names, ", "))
	}
	return t, nil
}

// compile makes the validator of one schema, which can refer to nothing outside of itself.
func compile(name string, doc any) (*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	c.UseLoader(alone{})
	for _, f := range formats() {
		c.RegisterFormat(&jsonschema.Format{Name: f.name, Validate: func(v any) error {
			if s, ok := v.(string); ok {
				return f.check(s)
			}
			return nil
		}})
	}
	url := "urn:aval:schema:" + name
	if err := c.AddResource(url, doc); err != nil {
		return nil, err
	}
	return c.Compile(url)
}

// alone refuses to load: schemas come from the catalog's files and nowhere else.
type alone struct{}

func (alone) Load(url string) (any, error) {
	return nil, fmt.Errorf("the schema refers to %s; a message schema stands alone", url)
}
