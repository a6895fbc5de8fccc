package calldata_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"

	"github.com/avalhq/aval/internal/message/calldata"
)

func parse(t testing.TB, signature string) calldata.Function {
	t.Helper()
	f, err := calldata.Parse(signature)
	if err != nil {
		t.Fatalf("%s: %v", signature, err)
	}
	return f
}

// The first three encodings are the examples of the contract ABI's specification (docs.soliditylang.org, Examples).
func TestEncodingsOfTheSpecification(t *testing.T) {
	for signature, test := range map[string]struct{ args, data string }{
		"baz(uint32,bool)": {`["69",true]`, "0xcdcd77c0" + strings.Repeat("0", 62) + "45" + strings.Repeat("0", 63) + "1"},
		"bar(bytes3[2])":   {`[["0x616263","0x646566"]]`, "0xfce353f6" + "616263" + strings.Repeat("0", 58) + "646566" + strings.Repeat("0", 58)},
		"sam(bytes,bool,uint256[])": {`["0x64617665",true,["1","2","3"]]`, "0xa5643bf2" +
			strings.Repeat("0", 62) + "60" + strings.Repeat("0", 63) + "1" + strings.Repeat("0", 62) + "a0" + strings.Repeat("0", 63) + "4" +
			"64617665" + strings.Repeat("0", 56) + strings.Repeat("0", 63) + "3" + strings.Repeat("0", 63) + "1" + strings.Repeat("0", 63) + "2" + strings.Repeat("0", 63) + "3"},
		"transfer(address,uint256)":    {`["0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed","25"]`, "0xa9059cbb" + strings.Repeat("0", 24) + "5aaeb6053f3e94c9b9a09f33669435e7ef1beaed" + strings.Repeat("0", 62) + "19"},
		"pay((address,int8)[],string)": {`[[["0x0000000000000000000000000000000000000000","-1"]],"é"]`, ""},
		"stop()":                       {`[]`, "0x07da68f5"},
	} {
		f := parse(t, signature)
		data, err := f.Encode([]byte(test.args))
		if err != nil || test.data != "" && !bytes.Equal(data, common.FromHex(test.data)) {
			t.Errorf("%s with %s is %x (%v)", signature, test.args, data, err)
		}
		if args, err := f.Decode(data); err != nil || string(args) != test.args {
			t.Errorf("%s: %x is decoded as %s (%v), not %s", signature, data, args, err, test.args)
		}
	}
}

func TestSignaturesAreCanonical(t *testing.T) {
	for signature, want := range map[string]string{
		"transfer(address,uint)": "such as uint256", "f(address to)": "", "f(address, uint256)": "", "f(address;uint256)": "", "f": "", "": "", "f(": "", "()": "",
		"f(uint256)x": "", "f(uint7)": "", "f(bytes33)": "", "f(function)": "", "f(word)": "", "f(uint256[0])": "", "f(uint256[99999999999999999999])": "", "f(uint8[512][512])": "",
		"f(" + strings.Repeat("uint256,", 40) + "uint256)": "", "f(" + strings.Repeat("(", 120) + strings.Repeat(")", 120) + ")": "",
	} {
		if f, err := calldata.Parse(signature); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is read as %s (%v)", signature, f, err)
		}
	}
}

func TestArgumentsThatDoNotFit(t *testing.T) {
	huge := "115792089237316195423570985008687907853269984665640564039457584007913129639936" // 2^256
	for _, test := range [][2]string{
		{"f(uint256)", `["` + huge + `"]`}, {"f(uint256)", `["-1"]`}, {"f(uint8)", `["256"]`}, {"f(int8)", `["128"]`}, {"f(uint256)", `["1.5"]`}, {"f(uint256)", `["01"]`},
		{"f(uint256)", `[1]`}, {"f(uint256)", `["0x1"]`}, {"f(uint256)", `[]`}, {"f(uint256)", `["1","2"]`}, {"f(uint256)", `{}`}, {"f(uint256)", `null`}, {"f(uint256)", `["1"] ["2"]`}, {"f(uint256)", ``},
		{"f(address)", `["0x12"]`}, {"f(address)", `["0x5aaeb6053F3E94C9b9A09f33669435E7Ef1BeAed"]`}, {"f(bool)", `["true"]`}, {"f(bytes4)", `["0x010203"]`}, {"f(bytes)", `["0x1"]`},
		{"f(bytes)", `["01"]`}, {"f(uint8[2])", `[["1"]]`}, {"f(uint8[])", `["1"]`}, {"f((uint8,uint8))", `[["1"]]`}, {"f(string)", `[1]`},
	} {
		if data, err := parse(t, test[0]).Encode([]byte(test[1])); err == nil {
			t.Errorf("%s with %s is %x", test[0], test[1], data)
		}
	}
}

// TestA12OnlyTheOneEncodingIsRead: what a contract would read in the same way, but a person cannot see, is refused.
func TestA12OnlyTheOneEncodingIsRead(t *testing.T) {
	f := parse(t, "transfer(address,uint256)")
	good, err := f.Encode([]byte(`["0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed","25"]`))
	if err != nil {
		t.Fatal(err)
	}
	dirty := bytes.Clone(good)
	dirty[4] = 1
	text := parse(t, "say(string)")
	moved, err := text.Encode([]byte(`["x"]`))
	if err != nil {
		t.Fatal(err)
	}
	moved[35] = 64 // the offset of the string, which then stands behind a gap
	moved = append(moved[:36:36], append(make([]byte, 32), moved[36:]...)...)
	for name, test := range map[string]struct {
		by   calldata.Function
		data []byte
	}{
		"another function": {parse(t, "transferFrom(address,address,uint256)"), good}, "cut": {f, good[:67]}, "longer": {f, append(bytes.Clone(good), 0)},
		"dirty padding": {f, dirty}, "a moved part": {text, moved}, "nothing": {f, nil}, "selector alone": {f, good[:4]},
	} {
		if args, err := test.by.Decode(test.data); err == nil {
			t.Errorf("%s is decoded as %s", name, args)
		}
	}
}

// Whatever is read encodes to the same bytes; nothing panics.
func FuzzDecode(f *testing.F) {
	f.Add("transfer(address,uint256)", common.FromHex("0xa9059cbb"+strings.Repeat("0", 128)))
	f.Add("sam(bytes,bool,uint256[])", common.FromHex("0xa5643bf2"+strings.Repeat("0", 256)))
	f.Add("pay((address,int8)[],string)", []byte{1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, signature string, data []byte) {
		function, err := calldata.Parse(signature)
		if err != nil {
			return
		}
		data = append(function.Selector(), data...)
		args, err := function.Decode(data)
		if err != nil {
			return
		}
		if again, err := function.Encode(args); err != nil || !bytes.Equal(again, data) {
			t.Errorf("%s: %x is decoded as %s, which encodes to %x (%v)", signature, data, args, again, err)
		}
	})
}
