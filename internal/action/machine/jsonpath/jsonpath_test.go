package jsonpath

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/avalhq/aval/internal/action/machine/value"
)

// roots gives the same data as input, and the context and one variable beside it.
type roots struct{ input, context, variable any }

func (r roots) Root(root Root, name string) (any, bool, error) {
	switch root {
	case Context:
		return r.context, true, nil
	case Variable:
		return r.variable, name == "known", nil
	default:
		return r.input, true, nil
	}
}

const shop = `{"store": {"book": [
	{"title": "A", "price": 8.95, "tags": ["x"]},
	{"title": "B", "price": 12.99, "isbn": "1"},
	{"title": "C", "price": 8.9900, "isbn": "2"}], "open": true, "odd name": 1}, "n": 123456789012345678901234567890}`

func decode(t testing.TB, text string) any {
	t.Helper()
	v, err := value.Decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestGet(t *testing.T) {
	source := roots{decode(t, shop), decode(t, `{"State": {"Name": "S"}}`), decode(t, `[{"a": 1}]`)}
	for path, want := range map[string]string{
		`$.n`:                                      `123456789012345678901234567890`,
		`$.store.book[2].price`:                    `8.9900`,
		`$['store']["book"][0]['title']`:           `"A"`,
		`$.store['odd name']`:                      `1`,
		`$.store.book[-1].title`:                   `"C"`,
		`$.store.book.[1].title`:                   `"B"`,
		`$.store.book.[?(@.isbn)].['title']`:       `["B","C"]`,
		`$.store.book[*].title`:                    `["A","B","C"]`,
		`$.store.book[0,2].title`:                  `["A","C"]`,
		`$.store.book[0]['title','price']`:         `["A",8.95]`,
		`$.store.book[1:].title`:                   `["B","C"]`,
		`$.store.book[:-1].title`:                  `["A","B"]`,
		`$.store.book[::2].title`:                  `["A","C"]`,
		`$.store.book[7:9]`:                        `[]`,
		`$..title`:                                 `["A","B","C"]`,
		`$..book[0].title`:                         `["A"]`,
		`$.store.book[?(@.price < 9)].title`:       `["A","C"]`,
		`$.store.book[?(@.price == 8.99)].title`:   `["C"]`,
		`$.store.book[?(@.isbn)].title`:            `["B","C"]`,
		`$.store.book[?(!@.isbn)].title`:           `["A"]`,
		`$.store.book[?(@.title =~ /[ab]/i)].isbn`: `["1"]`,
		`$.store.book[?(@.title in ['A','C'] && @.price > 0 || @.isbn == '1')].title`: `["A","B","C"]`,
		`$.store.book[?(@.price > $.store.book[0].price)].title`:                      `["B","C"]`,
		`$.store.book[?(@.tags[0] == 'x')].title`:                                     `["A"]`,
		`$$.State.Name`: `"S"`,
		`$known[0].a`:   `1`,
		`$.store.*`:     `[[{"price":8.95,"tags":["x"],"title":"A"},{"isbn":"1","price":12.99,"title":"B"},{"isbn":"2","price":8.9900,"title":"C"}],1,true]`,
	} {
		p, err := Parse(path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		v, err := p.Get(source, &Cost{Left: DefaultCost})
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if raw, err := value.Encode(v, 1<<20); err != nil || string(raw) != want {
			t.Errorf("%s gives %s %v, want %s", path, raw, err, want)
		}
	}
}

func TestADefinitePathThatLeadsNowhereIsMissing(t *testing.T) {
	source := roots{input: decode(t, shop)}
	for _, path := range []string{`$.none`, `$.store.book[3]`, `$.store.book[-4]`, `$.store.open.x`, `$.store.book.title`, `$unknown`, `$.store[0]`} {
		p, err := Parse(path)
		if err != nil {
			t.Fatal(err)
		}
		var missing *Missing
		if _, err := p.Get(source, &Cost{Left: DefaultCost}); !errors.As(err, &missing) {
			t.Errorf("%s gives the error %v, want that it leads to nothing", path, err)
		}
	}
}

func TestWhatIsNotAPathIsRefused(t *testing.T) {
	for _, path := range []string{``, `a`, `$.`, `$.a.`, `$[`, `$[1`, `$['a`, `$[?]`, `$[?(@.a ==)]`, `$[?(@.a =~ 'x')]`, `$[?(@.a =~ /(/)]`, `$[a]`, `$ .a`, `$.a b`,
		`$[99999999999]`, `$[::0]`, `$[?('x')]`, `$[1,]`, `$[?` + strings.Repeat("(", 100) + `@.a]`, `$[?` + strings.Repeat("!", 100) + `@.a]`, `$.` + strings.Repeat("a", 5000)} {
		if p, err := Parse(path); err == nil {
			t.Errorf("%q is taken as the path %+v", path, p)
		}
	}
}

func TestSet(t *testing.T) {
	for _, c := range []struct{ root, path, want string }{
		{`{"a": 1}`, `$.b`, `{"a":1,"b":"new"}`},
		{`{"a": 1}`, `$.a`, `{"a":"new"}`},
		{`{}`, `$.a.b.c`, `{"a":{"b":{"c":"new"}}}`},
		{`{"a": [1, {"b": 2}]}`, `$.a[1].b`, `{"a":[1,{"b":"new"}]}`},
		{`5`, `$`, `"new"`},
		{`5`, `$.a`, ``},
		{`{"a": 5}`, `$.a.b`, ``},
		{`{"a": []}`, `$.a[0]`, ``},
		{`{"a": {}}`, `$.a[0]`, ``},
	} {
		root := decode(t, c.root)
		before, _ := value.Encode(root, 1<<20)
		p, err := Parse(c.path)
		if err != nil {
			t.Fatal(err)
		}
		v, err := p.Set(root, "new")
		got, _ := value.Encode(v, 1<<20)
		if (err != nil) != (c.want == "") || err == nil && string(got) != c.want {
			t.Errorf("%s set in %s gives %s %v, want %s", c.path, c.root, got, err, c.want)
		}
		if after, _ := value.Encode(root, 1<<20); string(after) != string(before) {
			t.Errorf("%s changed what it was given: %s", c.path, after)
		}
	}
}

func TestWalkingHasALimit(t *testing.T) {
	list := make([]any, 300)
	for i := range list {
		list[i] = json.Number("1")
	}
	p, err := Parse(`$[?(@ in $..*)]`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Get(roots{input: list}, &Cost{Left: 1000}); !errors.Is(err, ErrCost) {
		t.Errorf("the error is %v", err)
	}
}

func FuzzPath(f *testing.F) {
	for _, seed := range []string{`$.store.book[?(@.price < 9 && !(@.isbn))].title`, `$..*`, `$['a','b'][0,1][1:2:3]`, `$$.a`, `$x.y`, `$[?(@.a =~ /x\/y/i)]`, `$[?(@ nin [1,'a',null])]`} {
		f.Add(seed, shop)
	}
	f.Fuzz(func(t *testing.T, path, data string) {
		p, err := Parse(path)
		v, bad := value.Decode([]byte(data))
		if err != nil || bad != nil {
			return
		}
		_, _ = p.Get(roots{v, v, v}, &Cost{Left: 100000}) // it must end, and not panic
		if p.Reference() {
			if set, err := p.Set(v, "new"); err == nil {
				if got, err := p.Get(roots{input: set}, &Cost{Left: 100000}); err != nil || got != "new" {
					t.Fatalf("%s was set in %s and gives %v %v", path, data, got, err)
				}
			}
		}
	})
}
