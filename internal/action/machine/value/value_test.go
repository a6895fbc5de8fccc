package value

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

func TestNumbersKeepTheirDigits(t *testing.T) {
	const text = `{"a":[1.00,-0,1e400,12345678901234567890.1],"b":"<&>\u2028"}`
	v, err := Decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := Encode(v, 1000)
	if want := `{"a":[1.00,-0,1e400,12345678901234567890.1],"b":"<&>` + "\u2028" + `"}`; err != nil || string(raw) != want {
		t.Errorf("got %s %v, want %s", raw, err, want)
	}
}

func TestWritingHasALimit(t *testing.T) {
	v := any("x")
	for range 60 { // 2^60 of them, when written
		v = []any{v, v}
	}
	if _, err := Encode(v, 1<<16); !errors.Is(err, ErrLimit) {
		t.Errorf("the error is %v", err)
	}
	if _, err := Decode([]byte(strings.Repeat("[", 5000) + strings.Repeat("]", 5000))); err == nil {
		t.Error("5000 arrays within one another were read")
	}
}

func TestCompare(t *testing.T) {
	for _, c := range []struct {
		a, b json.Number
		want int
	}{
		{"1", "1.0", 0}, {"1e2", "100", 0}, {"-1", "1", -1}, {"0.1", "0.10000000000000000000000001", -1}, {"9007199254740993", "9007199254740992", 1}, {"1e99999", "2", 1}, {"-0", "0", 0},
	} {
		if got := Compare(c.a, c.b); got != c.want {
			t.Errorf("%s and %s compare as %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestWholeNumbers(t *testing.T) {
	for n, want := range map[json.Number]int64{"1.5": 2, "-1.5": -1, "-1.51": -2, "2.4999999999999999999999": 2, "1e3": 1000, "0.4": 0, "-0.4": 0, "1e-9999": 0} {
		if got, ok := Rounded(n); !ok || got != want {
			t.Errorf("%s rounds to %d %v, want %d", n, got, ok, want)
		}
	}
	for _, n := range []json.Number{"1e19", "9223372036854775808", "1e99999999", "1e999999999999"} {
		if got, ok := Rounded(n); ok {
			t.Errorf("%s rounds to %d", n, got)
		}
	}
	if _, ok := Integer(json.Number("1.5")); ok {
		t.Error("1.5 is taken as whole")
	}
}

// FuzzDecode holds Decode against package json.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`{"a": [1, -0.5e+3, "x\n\ud83d\ude00\ud800", true, null], "a": {}}`, `"\u00e9\/"`, ` 01`, `[1,]`, "\"\xff\"", `"\u+123"`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := Decode(raw)
		decoder := json.NewDecoder(bytes.NewReader(raw))
		decoder.UseNumber()
		var want any
		wrong := decoder.Decode(&want)
		if wrong == nil {
			if _, more := decoder.Token(); !errors.Is(more, io.EOF) {
				wrong = errors.New("more")
			}
		}
		if (err == nil) != (wrong == nil) && bytes.Count(raw, []byte("["))+bytes.Count(raw, []byte("{")) <= maxDepth {
			t.Fatalf("%q: %v, package json: %v", raw, err, wrong)
		}
		if err != nil || wrong != nil {
			return
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q gives %#v, package json %#v", raw, got, want)
		}
		text, err := Encode(got, 1<<24)
		if again, bad := Decode(text); err != nil || bad != nil || !Equal(got, again) {
			t.Fatalf("%q is written as %s: %v %v", raw, text, err, bad)
		}
	})
}
