package expr

import (
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// maxLength is the most characters or elements that an operator puts together.
const maxLength = 1 << 20

func errTooLong() ref.Val { return types.NewErr("the value would be longer than %d", maxLength) }

// size is the length of a text or list, as far as it has one.
func size(v ref.Val) int {
	switch v := v.(type) {
	case types.String:
		return len(v)
	case types.Bytes:
		return len(v)
	case traits.Sizer:
		n, _ := v.Size().(types.Int)
		return int(n)
	}
	return 0
}

// textFunctions are those of CEL's string extension that rules and workflows need. The extension as a whole is left out:
// its replace and format make a text of any size out of a short expression.
func textFunctions() []cel.EnvOption {
	text, number, texts := cel.StringType, cel.IntType, cel.ListType(cel.StringType)
	return []cel.EnvOption{
		cel.Function("lowerAscii", cel.MemberOverload("text_lower_ascii", []*cel.Type{text}, text,
			cel.UnaryBinding(func(v ref.Val) ref.Val { return types.String(lowerASCII(string(v.(types.String)))) }))),
		cel.Function("split", cel.MemberOverload("text_split", []*cel.Type{text, text}, texts,
			cel.BinaryBinding(func(v, by ref.Val) ref.Val {
				return types.NewStringList(adapter{}, strings.Split(string(v.(types.String)), string(by.(types.String))))
			}))),
		cel.Function("join", cel.MemberOverload("text_join", []*cel.Type{texts, text}, text, cel.BinaryBinding(join))),
		cel.Function("substring",
			cel.MemberOverload("text_from", []*cel.Type{text, number}, text,
				cel.BinaryBinding(func(v, from ref.Val) ref.Val { return substring(v, from, nil) })),
			cel.MemberOverload("text_from_to", []*cel.Type{text, number, number}, text,
				cel.FunctionBinding(func(args ...ref.Val) ref.Val { return substring(args[0], args[1], args[2]) }))),
	}
}

func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// join puts the elements of a list together with a text between them.
func join(list, by ref.Val) ref.Val {
	var out strings.Builder
	elements, ok := list.(traits.Lister)
	if !ok {
		return types.MaybeNoSuchOverloadErr(list)
	}
	for i, n := 0, size(list); i < n; i++ {
		s, ok := elements.Get(types.Int(i)).(types.String)
		if !ok {
			return types.NewErr("join takes a list of strings only")
		}
		if i > 0 {
			out.WriteString(string(by.(types.String)))
		}
		if out.WriteString(string(s)); out.Len() > maxLength {
			return errTooLong()
		}
	}
	return types.String(out.String())
}

// substring counts characters from 0; to is not included. What is not there cannot be taken.
func substring(v, from, to ref.Val) ref.Val {
	chars := []rune(string(v.(types.String)))
	start, end := int64(from.(types.Int)), int64(len(chars))
	if to != nil {
		end = int64(to.(types.Int))
	}
	if start < 0 || end < start || end > int64(len(chars)) {
		return types.NewErr("substring reaches beyond the text")
	}
	return types.String(string(chars[start:end]))
}
