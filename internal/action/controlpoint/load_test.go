package controlpoint_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/avalhq/aval/internal/action/controlpoint"
)

// good is a control point that mistakes are put into, by replacing a piece of it.
const good = `name: good
effect: true
targets:
  bank: {url: "https://bank.example", auth: {bearer: "env:X"}}
request:
  path: /a
  body: {a: "{% args.a %}"}
response:
  success: [200, 2xx]
  refusals: [{status: 4xx, name: no}]
`

// TestMistakesAreToldWithTheirPlace: all that can be wrong with a file is refused when it is loaded.
func TestMistakesAreToldWithTheirPlace(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"name: good", "name: Good", "line 1, column 7: name must be small letters"},
		{"effect: true", "effect: maybe", "line 2, column 9: effect must be true or false"},
		{"effect: true\n", "", "effect is missing"},
		{"effect: true", "effect: true\neffect: false", "effect is there twice"},
		{"https://bank.example", "http://bank.example", "line 4, column 15: targets.bank.url is not https"},
		{"https://bank.example", "https://u:p@bank.example", "must hold no user"},
		{"https://bank.example", "https://bank.example/?a=b", "must end before ?"},
		{"https://bank.example", "ftp://bank.example", "must be a URL"},
		{`"env:X"`, "hunter2canary", "does not say where the secret is"},
		{`{bearer: "env:X"}`, `{bearer: "env:X", header: {name: Host, value: "env:X"}}`, "needs one of bearer, basic and header"},
		{`"https://bank.example"`, `"https://bank.example", timeout: 5`, "targets.bank.timeout must be a time such as 5s"},
		{`"https://bank.example"`, `"https://bank.example", timeout: -5s`, "must be a time"},
		{`"https://bank.example"`, `"https://bank.example", timeout: 2m`, "may be 50s at most"},
		{`"https://bank.example"`, `"https://bank.example", parallel: 0`, "must be a whole number from 1 to 1024"},
		{`"https://bank.example"`, `"https://bank.example", max_response: 99999999`, "must be a whole number from 1 to 4194304"},
		{`"https://bank.example"`, `"https://bank.example", tls: {ca: nowhere.pem}`, "targets.bank.tls.ca cannot be used"},
		{`"https://bank.example"`, `"https://bank.example", key_header: "a b"`, "no name of a header"},
		{"path: /a", "path: a", "line 6, column 9: request.path must begin with /"},
		{"path: /a", "path: /a/{b}", "values gives nothing for it"},
		{"path: /a", "path: /a\n  values: {b: c}", "has no placeholder in the path"},
		{"path: /a", "path: /a\n  method: GET", "must be one of POST"},
		{"path: /a", "path: /a\n  headers: {Authorization: x}", "is no header that can be given here"},
		{"args.a %}", "args.a + %}", "line 7, column 13: request.body.a: in the expression"},
		{"args.a %}", "1.5 %}", "request.body.a: in the expression"},
		{"args.a %}", "response.body %}", "undeclared reference"},
		{"[200, 2xx]", "[200, 7xx]", "line 9, column 18: response.success.1 must be a status"},
		{"name: no}", "name: No!}", "must be a name such as funds-short"},
		{"status: 4xx, ", "", "needs status, when, or both"},
		{"response:", "response:\n  pending: \"{% true %}\"", "the outcome cannot be asked for"},
		{"response:", "gather: {want: some}\nresponse:", "must be all, first or quorum"},
		{"response:", "gather: {want: quorum}\nresponse:", "says how many have to answer"},
		{"response:", "gather: {want: quorum, quorum: 2}\nresponse:", "fewer than have to answer"},
		{"response:", "route: [{to: shop}]\nresponse:", `names "shop"; there are the targets [bank]`},
		{"response:", "route: [{to: bank}, {to: bank}]\nresponse:", "and others follow"},
		{"response:", "route: [{to: [bank, bank]}]\nresponse:", "must be one target"},
		{"response:", "arguments: {type: thing}\nresponse:", "arguments is no JSON Schema"},
		{"response:", "arguments: {$ref: 'https://bank.example/schema'}\nresponse:", "arguments is no JSON Schema"},
		{"response:", "compensation: {}\nresponse:", "compensation.request is missing"},
		{"response:", "lookup: {method: POST, body: &a {b: c}}\nresponse:", "anchors"},
		{"response:", "--- {}\nresponse:", "more than one YAML document"},
		{good, "", "it is empty"},
		{good, "a: [", "it is not YAML"},
		{good, "just a text", "must be a group of fields"},
	} {
		if !strings.Contains(good, c.from) {
			t.Fatalf("%q is not in the file", c.from)
		}
		_, err := controlpoint.Load("good.yaml", []byte(strings.Replace(good, c.from, c.to, 1)), controlpoint.Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q for %q: %v, want %q", c.to, c.from, err, c.want)
		}
		if strings.Contains(fmt.Sprint(err), "hunter2") {
			t.Errorf("I25: %v", err)
		}
	}
	if _, err := controlpoint.Load("good.yaml", []byte(good), controlpoint.Options{}); err != nil {
		t.Error(err)
	}
}

func TestNamesAreTakenOnce(t *testing.T) {
	files := fstest.MapFS{"a.yaml": {Data: []byte(good)}, "b.yaml": {Data: []byte(good)}, "c.txt": {Data: []byte("no")}}
	if _, err := controlpoint.LoadAll(files, controlpoint.Options{}); err == nil || !strings.Contains(err.Error(), `b.yaml: there is an action "good" already`) {
		t.Errorf("two of one name: %v", err)
	}
	delete(files, "b.yaml")
	if _, err := controlpoint.LoadAll(files, controlpoint.Options{}, "good"); err == nil {
		t.Error("the name of another action is taken")
	}
	if points, err := controlpoint.LoadAll(files, controlpoint.Options{}); err != nil || len(points) != 1 {
		t.Errorf("%d, %v", len(points), err)
	}
}

// FuzzLoad: no bytes make the loader panic, and what it takes can be planned with.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("name: a\neffect: false\ntargets: {a: {url: 'https://a'}}\nrequest: {}\ngather: {want: first}\ncompensation: {request: {}}"))
	f.Fuzz(func(_ *testing.T, source []byte) {
		_, _ = controlpoint.Load("fuzz.yaml", source, controlpoint.Options{Look: true})
	})
}
