package expr

import (
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
)

// amountType is a string that holds an amount. It is text in an expression, but does not compare or compute: dec() makes a number
// of it.
var amountType = types.NewOpaqueType("amount")

// Type is what is known of a value before there is one. The zero of what is known is Dyn.
type Type struct {
	cel     *cel.Type
	fields  map[string]*Type // of an object
	open    bool             // it may have others too
	element *Type            // of a list
	values  []string         // the only ones, of a string
	size    uint64           // most characters or elements; 0: not known
}

// Dyn is a value of which nothing is known.
func Dyn() *Type { return &Type{cel: cel.DynType} }

// Text is a string.
func Text() *Type { return &Type{cel: cel.StringType} }

// Int is a whole number of 64 bits.
func Int() *Type { return &Type{cel: cel.IntType} }

// Bool is true or false.
func Bool() *Type { return &Type{cel: cel.BoolType} }

// Object has fields, and others too when it is open. Its name stands in messages: "message.body".
func Object(name string, fields map[string]*Type, open bool) *Type {
	return &Type{cel: cel.ObjectType(typeMark + name), fields: fields, open: open}
}

// List has elements of one type.
func List(element *Type) *Type { return &Type{cel: cel.ListType(element.cel), element: element} }

// String names the type as messages do.
func (t *Type) String() string { return unmarked(t.cel.String()) }

// typeMark begins the names of objects, so that none is taken for a type where an expression selects a member: m.body is both.
const typeMark = "@"

func unmarked(text string) string { return strings.ReplaceAll(text, typeMark, "") }

// Is tells whether a value of the type may be one of the wanted ones: "bool", "int", "string", "list". Nothing known may be all.
func (t *Type) Is(kinds ...string) bool {
	for _, kind := range kinds {
		switch {
		case t.cel.Kind() == types.DynKind, t.cel.TypeName() == kind, kind == "string" && t.cel.TypeName() == amountType.TypeName():
			return true
		}
	}
	return false
}

// Join is what is known of a value that is one or the other.
func (t *Type) Join(other *Type) *Type {
	if t == other || t.fields == nil && t.cel.IsExactType(other.cel) {
		return t
	}
	return Dyn()
}

// field is what is known of a member.
func (t *Type) field(name string) (*Type, bool) {
	if f, ok := t.fields[name]; ok {
		return f, true
	}
	return Dyn(), t.open
}

// names lists the objects in a type by their names, deep.
func (t *Type) names(into map[string]*Type) {
	if t.fields != nil && into[t.cel.TypeName()] == nil {
		into[t.cel.TypeName()] = t
		for _, f := range t.fields {
			f.names(into)
		}
	}
	if t.element != nil {
		t.element.names(into)
	}
}
