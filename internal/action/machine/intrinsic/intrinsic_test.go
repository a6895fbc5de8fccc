package intrinsic

import (
	"crypto/sha256"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/avalhq/aval/internal/action/machine/jsonpath"
	"github.com/avalhq/aval/internal/action/machine/value"
)

type scope struct {
	input any
	drawn byte
}

func (s *scope) Root(jsonpath.Root, string) (any, bool, error) { return s.input, true, nil }

func (s *scope) Draw() (b [16]byte) {
	s.drawn++
	sum := sha256.Sum256([]byte{s.drawn})
	copy(b[:], sum[:])
	return b
}

func eval(t testing.TB, text, input string) (string, error) {
	t.Helper()
	e, err := Parse(text)
	if err != nil {
		return "", err
	}
	v, err := value.Decode([]byte(input))
	if err != nil {
		t.Fatal(err)
	}
	out, err := e.Eval(&scope{input: v}, &jsonpath.Cost{Left: jsonpath.DefaultCost})
	if err != nil {
		return "", err
	}
	raw, err := value.Encode(out, maxMade)
	return string(raw), err
}

func TestFunctions(t *testing.T) {
	const input = `{"name": "Ann", "list": [1, 2, 3, 4, 5], "obj": {"a": {"x": 1}, "b": 2}, "other": {"a": {"y": 2}}, "big": 12345678901234567890, "t": "{} and \\{\\}"}`
	for text, want := range map[string]string{
		`States.Format('Hello {}, {}', $.name, $.list[0])`:               `"Hello Ann, 1"`,
		`States.Format('{}', $.obj)`:                                     `"{\"a\":{\"x\":1},\"b\":2}"`,
		`States.Format('it\'s \{\} \\ {}', null)`:                        `"it's {} \\ null"`,
		`States.Format($.t, 1)`:                                          `"1 and {}"`,
		`States.Format('{}', $.big)`:                                     `"12345678901234567890"`,
		`States.StringToJson('{"a": 1.50}')`:                             `{"a":1.50}`,
		`States.JsonToString($.obj)`:                                     `"{\"a\":{\"x\":1},\"b\":2}"`,
		`States.Array()`:                                                 `[]`,
		`States.Array('a', 1, true, null, $.name)`:                       `["a",1,true,null,"Ann"]`,
		`States.ArrayPartition($.list, 2)`:                               `[[1,2],[3,4],[5]]`,
		`States.ArrayContains($.list, 3.0)`:                              `true`,
		`States.ArrayContains($.list, '3')`:                              `false`,
		`States.ArrayRange(1, 9, 2)`:                                     `[1,3,5,7,9]`,
		`States.ArrayRange(3, 0, -1)`:                                    `[3,2,1,0]`,
		`States.ArrayRange(5, 1, 1)`:                                     `[]`,
		`States.ArrayRange(9223372036854775806, 9223372036854775807, 5)`: `[9223372036854775806]`,
		`States.ArrayGetItem($.list, 4)`:                                 `5`,
		`States.ArrayLength($.list)`:                                     `5`,
		`States.ArrayUnique(States.Array(1, 1.0, 'a', 'a', null, 2))`:    `[1,"a",null,2]`,
		`States.Base64Encode('Data to encode')`:                          `"RGF0YSB0byBlbmNvZGU="`,
		`States.Base64Decode('RGF0YSB0byBlbmNvZGU=')`:                    `"Data to encode"`,
		`States.Hash('abc', 'MD5')`:                                      `"900150983cd24fb0d6963f7d28e17f72"`,         // RFC 1321
		`States.Hash('abc', 'SHA-1')`:                                    `"a9993e364706816aba3e25717850c26c9cd0d89d"`, // FIPS 180
		`States.Hash('abc', 'SHA-256')`:                                  `"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"`,
		`States.JsonMerge($.obj, $.other, false)`:                        `{"a":{"y":2},"b":2}`,
		`States.MathAdd(1.5, -0.5)`:                                      `2`,
		`States.MathAdd(-1.51, 10)`:                                      `8`,
		`States.MathAdd(1e2, 0.0001)`:                                    `100`,
		`States.MathRandom(7, 8)`:                                        `7`,
		`States.StringSplit('This.is+a,test=string', '.+,=')`:            `["This","is","a","test","string"]`,
		`States.StringSplit(',a,,b,', ',')`:                              `["a","b"]`,
		`States.ArrayGetItem(States.Array(1, States.MathAdd(1, 1)),1)`:   `2`,
	} {
		if got, err := eval(t, text, input); err != nil || got != want {
			t.Errorf("%s gives %s %v, want %s", text, got, err, want)
		}
	}
}

func TestAWrongArgumentIsAnErrorOfTheFunction(t *testing.T) {
	for _, text := range []string{
		`States.Format('{} {}', 1)`, `States.Format('{}', 1, 2)`, `States.Format('{', 1)`, `States.Format(1)`, `States.StringToJson('{')`, `States.StringToJson(1)`,
		`States.ArrayPartition($, 0)`, `States.ArrayPartition(1, 2)`, `States.ArrayRange(1, 2, 0)`, `States.ArrayRange(1, 1001, 1)`, `States.ArrayGetItem(States.Array(1), 1)`,
		`States.ArrayGetItem(States.Array(1), -1)`, `States.ArrayLength('a')`, `States.Base64Decode('%')`, `States.Hash('a', 'MD4')`, `States.JsonMerge($, $, true)`,
		`States.MathAdd('1', 2)`, `States.MathAdd(9223372036854775807, 1)`, `States.MathAdd(1e30, 1)`, `States.MathRandom(2, 2)`, `States.StringSplit(1, 'a')`,
	} {
		var wrong *Error
		if got, err := eval(t, text, `{}`); !errors.As(err, &wrong) {
			t.Errorf("%s gives %s %v", text, got, err)
		}
	}
}

func TestWhatIsNotACallIsRefused(t *testing.T) {
	for _, text := range []string{``, `States.None()`, `States.Array(`, `States.Array(1`, `States.Array(1,)`, `States.Array(1 2)`, `States.Array() x`, `States.Array('a)`, `States.Array(a)`,
		`States.Format('say \"hello\"')`, `States.UUID(1)`, `States.MathAdd(1)`, `Format('a')`, strings.Repeat(`States.Array(`, 20) + strings.Repeat(`)`, 20)} {
		if got, err := eval(t, text, `{}`); err == nil {
			t.Errorf("%s gives %s", text, got)
		}
	}
}

func TestChanceComesFromOutside(t *testing.T) {
	e, err := Parse(`States.Array(States.UUID(), States.UUID(), States.MathRandom(1, 1000000))`)
	if err != nil {
		t.Fatal(err)
	}
	draw := func() []any {
		v, err := e.Eval(&scope{}, &jsonpath.Cost{Left: 1000})
		if err != nil {
			t.Fatal(err)
		}
		return v.([]any)
	}
	one, two := draw(), draw()
	if !value.Equal(one, two) {
		t.Errorf("the same draws gave %v and %v", one, two)
	}
	if one[0] == one[1] {
		t.Errorf("two calls gave the same UUID %v", one[0])
	}
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(one[0].(string)) {
		t.Errorf("%v is not a UUID of version 4", one[0])
	}
	a, errA := eval(t, `States.MathRandom(1, 1000000, 42)`, `{}`)
	b, errB := eval(t, `States.MathRandom(1, 1000000, 42)`, `{}`)
	if errA != nil || errB != nil || a != b {
		t.Errorf("one seed gave %s %v and %s %v", a, errA, b, errB)
	}
}

func FuzzCall(f *testing.F) {
	for _, seed := range []string{`States.Format('a {} \{', $.a[0])`, `States.Array(1, 'x', null, States.UUID())`, `States.ArrayRange(1, 10, 3)`, `States.StringToJson('[1]')`, `States.Hash($, 'MD5')`, `States.JsonMerge($, $, false)`} {
		f.Add(seed, `{"a": [1, "b", {}]}`)
	}
	f.Fuzz(func(t *testing.T, text, input string) {
		e, err := Parse(text)
		v, bad := value.Decode([]byte(input))
		if err != nil || bad != nil {
			return
		}
		out, err := e.Eval(&scope{input: v}, &jsonpath.Cost{Left: 100000})
		if err != nil {
			return
		}
		if _, err := value.Encode(out, 1<<24); err != nil && !errors.Is(err, value.ErrLimit) {
			t.Fatalf("%s gives %v, which is not a value: %v", text, out, err)
		}
	})
}
