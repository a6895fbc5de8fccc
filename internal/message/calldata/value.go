package calldata

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"regexp"
	"strings"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

var whole = regexp.MustCompile(`^(0|-?[1-9][0-9]{0,77})$`)

// read makes of JSON the Go value that the ABI library wants for a type.
func read(t abi.Type, given any) (reflect.Value, error) {
	switch t.T {
	case abi.SliceTy, abi.ArrayTy, abi.TupleTy:
		return readList(t, given)
	case abi.BoolTy:
		b, ok := given.(bool)
		if !ok {
			return reflect.Value{}, errors.New("must be true or false")
		}
		return reflect.ValueOf(b), nil
	}
	text, ok := given.(string)
	if !ok {
		return reflect.Value{}, errors.New("must be a string; numbers too are written as strings of digits")
	}
	switch t.T {
	case abi.StringTy:
		return reflect.ValueOf(text), nil
	case abi.AddressTy:
		return readAddress(text)
	case abi.IntTy, abi.UintTy:
		return readNumber(t, text)
	}
	return readBytes(t, text)
}

// readList is read for types that have parts.
func readList(t abi.Type, given any) (reflect.Value, error) {
	list, ok := given.([]any)
	if !ok {
		return reflect.Value{}, errors.New("must be a list")
	}
	want := len(list)
	switch t.T {
	case abi.ArrayTy:
		want = t.Size
	case abi.TupleTy:
		want = len(t.TupleElems)
	}
	if len(list) != want {
		return reflect.Value{}, fmt.Errorf("must have %d parts and has %d", want, len(list))
	}
	into := reflect.New(t.GetType()).Elem()
	if t.T == abi.SliceTy {
		into.Set(reflect.MakeSlice(t.GetType(), want, want))
	}
	for i, part := range list {
		elem := t.Elem
		if t.T == abi.TupleTy {
			elem = t.TupleElems[i]
		}
		value, err := read(*elem, part)
		if err != nil {
			return reflect.Value{}, fmt.Errorf("at place %d, %s, %w", i+1, elem, err)
		}
		if t.T == abi.TupleTy {
			into.Field(i).Set(value)
		} else {
			into.Index(i).Set(value)
		}
	}
	return into, nil
}

// readAddress takes the zero address too: as an argument it can have a meaning.
func readAddress(text string) (reflect.Value, error) {
	raw, err := hexutil.Decode(text)
	if err != nil || len(raw) != common.AddressLength {
		return reflect.Value{}, errors.New("must be an address: 0x and 40 hexadecimal digits")
	}
	address, digits := common.BytesToAddress(raw), text[2:]
	if digits != strings.ToLower(digits) && digits != strings.ToUpper(digits) && text != address.Hex() {
		return reflect.Value{}, errors.New("has a wrong EIP-55 checksum; check the address for a typing error")
	}
	return reflect.ValueOf(address), nil
}

func readNumber(t abi.Type, text string) (reflect.Value, error) {
	n, ok := new(big.Int).SetString(text, 10)
	if !ok || !whole.MatchString(text) {
		return reflect.Value{}, errors.New("must be a whole number: digits only, no leading zero")
	}
	low, high := new(big.Int), new(big.Int).Lsh(big.NewInt(1), uint(t.Size))
	if t.T == abi.IntTy {
		high.Rsh(high, 1)
		low.Neg(high)
	}
	if n.Cmp(low) < 0 || n.Cmp(high) >= 0 {
		return reflect.Value{}, errors.New("is out of the type's range")
	}
	into := reflect.New(t.GetType()).Elem()
	switch {
	case into.CanUint():
		into.SetUint(n.Uint64())
	case into.CanInt():
		into.SetInt(n.Int64())
	default:
		into.Set(reflect.ValueOf(n))
	}
	return into, nil
}

func readBytes(t abi.Type, text string) (reflect.Value, error) {
	digits, prefixed := strings.CutPrefix(text, "0x")
	raw, err := hex.DecodeString(digits)
	if err != nil || !prefixed {
		return reflect.Value{}, errors.New("must be bytes: 0x and an even number of hexadecimal digits")
	}
	if t.T == abi.BytesTy {
		return reflect.ValueOf(raw), nil
	}
	if len(raw) != t.Size {
		return reflect.Value{}, fmt.Errorf("must have %d bytes", t.Size)
	}
	into := reflect.New(t.GetType()).Elem()
	reflect.Copy(into, reflect.ValueOf(raw))
	return into, nil
}

// show is the inverse of read.
func show(t abi.Type, value any) any {
	v := reflect.ValueOf(value)
	switch t.T {
	case abi.SliceTy, abi.ArrayTy:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = show(*t.Elem, v.Index(i).Interface())
		}
		return list
	case abi.TupleTy:
		list := make([]any, v.NumField())
		for i := range list {
			list[i] = show(*t.TupleElems[i], v.Field(i).Interface())
		}
		return list
	case abi.BytesTy, abi.FixedBytesTy:
		raw := make([]byte, v.Len())
		reflect.Copy(reflect.ValueOf(raw), v)
		return hexutil.Encode(raw)
	case abi.AddressTy, abi.IntTy, abi.UintTy:
		return fmt.Sprint(value)
	}
	return value
}
