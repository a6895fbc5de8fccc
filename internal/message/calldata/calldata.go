// Package calldata reads and writes the call data of contracts by the signature of the function that is called, such as
// transfer(address,uint256). Its purpose is that what a person approved and what a contract is told are the same (A12).
//
// Reading is strict: only bytes that encode the decoded arguments again are accepted, so that no bytes are left over, no
// padding is dirty and no value has two encodings. Arguments are JSON: numbers are strings of decimal digits, bytes are 0x and
// hex digits, addresses as EIP-55 says, arrays and tuples are lists.
//
// Errors name places, types and rules, and repeat nothing that was given: they may be shown and logged.
//
// Nothing here does I/O, and no bytes make it panic or take memory beyond a small multiple of their own length.
package calldata

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/ethereum/go-ethereum/accounts/abi"
)

// Limits of a signature.
const (
	maxSignature = 256  // characters
	maxElements  = 1024 // of fixed arrays, nested ones multiplied
)

var form = regexp.MustCompile(`^[a-zA-Z_$][a-zA-Z0-9_$]*\([a-zA-Z0-9,()\[\]]*\)$`)

var fixedSize = regexp.MustCompile(`\[([0-9]+)\]`)

// Function is one function of a contract. It is immutable.
type Function struct {
	signature string
	method    abi.Method
}

// Parse reads a signature in its canonical form: name and types, uint256 and not uint, no spaces, no names of arguments.
func Parse(signature string) (f Function, err error) {
	defer caught(&err)
	if len(signature) > maxSignature {
		return f, fmt.Errorf("a function's signature has at most %d characters", maxSignature)
	}
	if err := bounded(signature); err != nil {
		return f, err
	}
	parsed, err := abi.SelectorMarshaling{}, error(nil)
	if form.MatchString(signature) {
		parsed, err = abi.ParseSelector(signature)
	}
	if err != nil || parsed.Name == "" {
		return f, errors.New("this is no function's signature; write it as in transfer(address,uint256)")
	}
	inputs := make(abi.Arguments, len(parsed.Inputs))
	for i, input := range parsed.Inputs {
		if inputs[i].Type, err = abi.NewType(input.Type, "", input.Components); err != nil {
			return f, fmt.Errorf("argument %d of the function has no type that the ABI knows; write types in full, such as uint256", i+1)
		}
		if err := supported(inputs[i].Type); err != nil {
			return f, fmt.Errorf("argument %d of the function: %w", i+1, err)
		}
	}
	f.signature, f.method = signature, abi.NewMethod(parsed.Name, parsed.Name, abi.Function, "", false, false, inputs, nil)
	if f.method.Sig != signature {
		return f, errors.New("the function's signature is not in its canonical form: no spaces, no names of arguments, types in full, as in transfer(address,uint256)")
	}
	return f, nil
}

// bounded refuses arrays that would take much memory to describe.
func bounded(signature string) error {
	elements := 1
	for _, size := range fixedSize.FindAllStringSubmatch(signature, -1) {
		n, err := strconv.Atoi(size[1])
		if err != nil || n < 1 || n > maxElements || elements*n > maxElements {
			return fmt.Errorf("the function's arrays of fixed size have 1 to %d elements together", maxElements)
		}
		elements *= n
	}
	return nil
}

// supported refuses types that no compiler gives out, or that are not in use.
func supported(t abi.Type) error {
	switch t.T {
	case abi.IntTy, abi.UintTy, abi.BoolTy, abi.StringTy, abi.AddressTy, abi.FixedBytesTy, abi.BytesTy:
		if t.T == abi.FixedBytesTy && (t.Size < 1 || t.Size > 32) || (t.T == abi.IntTy || t.T == abi.UintTy) && (t.Size%8 != 0 || t.Size < 8 || t.Size > 256) {
			return fmt.Errorf("there is no type %s", t)
		}
		return nil
	case abi.SliceTy, abi.ArrayTy:
		return supported(*t.Elem)
	case abi.TupleTy:
		for _, part := range t.TupleElems {
			if err := supported(*part); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("the type %s is not supported", t)
}

// String is the signature.
func (f Function) String() string { return f.signature }

// Selector is the first four bytes of the function's call data.
func (f Function) Selector() []byte { return bytes.Clone(f.method.ID) }

// Encode makes call data of a JSON list of arguments.
func (f Function) Encode(args json.RawMessage) (data []byte, err error) {
	defer caught(&err)
	var given []any
	decoder := json.NewDecoder(bytes.NewReader(args))
	if err := decoder.Decode(&given); err != nil || given == nil || decoder.More() {
		return nil, errors.New(`the arguments must be a JSON list, such as ["0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "25"]`)
	}
	if len(given) != len(f.method.Inputs) {
		return nil, fmt.Errorf("the function takes %d arguments, and there are %d", len(f.method.Inputs), len(given))
	}
	values := make([]any, len(given))
	for i, input := range f.method.Inputs {
		value, err := read(input.Type, given[i])
		if err != nil {
			return nil, fmt.Errorf("argument %d, %s, %w", i+1, input.Type, err)
		}
		values[i] = value.Interface()
	}
	packed, err := f.method.Inputs.Pack(values...)
	if err != nil {
		return nil, fmt.Errorf("the arguments cannot be encoded: %w", err)
	}
	return append(f.Selector(), packed...), nil
}

// Decode gives the arguments of call data as a JSON list. Bytes that are not exactly an encoding of them are refused.
func (f Function) Decode(data []byte) (args json.RawMessage, err error) {
	defer caught(&err)
	if len(data) < 4 || !bytes.Equal(data[:4], f.method.ID) {
		return nil, errors.New("the data does not call the function: it begins with another selector")
	}
	values, err := f.method.Inputs.Unpack(data[4:])
	if err != nil {
		return nil, errors.New("the data does not decode as arguments of the function")
	}
	shown := make([]any, len(values))
	for i, value := range values {
		shown[i] = show(f.method.Inputs[i].Type, value)
	}
	if args, err = json.Marshal(shown); err != nil {
		return nil, fmt.Errorf("the arguments cannot be shown: %w", err)
	}
	if again, err := f.Encode(args); err != nil || !bytes.Equal(again, data) {
		return nil, errors.New("the data is not the one encoding of its arguments: it has bytes too many, dirty padding, moved parts, or text that is not UTF-8")
	}
	return args, nil
}

// caught turns a panic of the ABI library into an error: what it is given comes from outside.
func caught(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("the call data cannot be handled: %v", strings.TrimSpace(fmt.Sprint(r)))
	}
}
