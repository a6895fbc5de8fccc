package controlpoint_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/avalhq/aval/internal/action/controlpoint"
)

const getFile = `
name: get
effect: false
targets: {other: {url: %q, timeout: 2s%s}}
request: {method: GET, path: /}
`

// TestA27PrivateAddressesAreRefusedWhenConnecting, however they are written and whatever names lead to them.
func TestA27PrivateAddressesAreRefusedWhenConnecting(t *testing.T) {
	heard := 0
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { heard++ }))
	defer server.Close()
	port := server.URL[strings.LastIndex(server.URL, ":"):]
	for _, host := range []string{
		"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
		"[fe80::1]", "[fd00::1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::127.0.0.1]", "198.18.0.1", "192.0.0.8", "224.0.0.1", "255.255.255.255", "240.0.0.1", "[ff02::1]",
	} {
		p, err := controlpoint.Load("get.yaml", fmt.Appendf(nil, getFile, "https://"+host+port, ""), controlpoint.Options{})
		if err != nil {
			t.Fatal(err)
		}
		s := &subject{t: t, action: p.Actions()[0]}
		if got := code(s.run(false, `{}`)); got != "control-point-address-refused" {
			t.Errorf("%s: %s", host, got)
		}
	}
	if heard > 0 {
		t.Errorf("the server heard %d requests", heard)
	}
}

// TestWhatIsAllowedIsReached: a network, an address, or a name wherever it leads to.
func TestWhatIsAllowedIsReached(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{}`)
	}))
	defer server.Close()
	for list, host := range map[string]string{"10.0.0.0/8, 127.0.0.0/8": "127.0.0.1", "127.0.0.1 ::1": "127.0.0.1", "LOCALHOST": "localhost", "::ffff:127.0.0.1": "127.0.0.1"} {
		allowed, err := controlpoint.ParseAllowed(list)
		if err != nil {
			t.Fatal(err)
		}
		p, err := controlpoint.Load("get.yaml", fmt.Appendf(nil, getFile, strings.Replace(server.URL, "127.0.0.1", host, 1), ""), controlpoint.Options{Allowed: allowed})
		if err != nil {
			t.Fatal(err)
		}
		s := &subject{t: t, action: p.Actions()[0]}
		s.want(s.run(false, `{}`), "ok")
	}
	for _, list := range []string{"http://bank", "10.0.0.0/99", "*.bank", "bank:80"} {
		if _, err := controlpoint.ParseAllowed(list); err == nil {
			t.Errorf("%q is allowed", list)
		}
	}
}

// TestA27RedirectsAreNotFollowed, not even to where a request could go by itself.
func TestA27RedirectsAreNotFollowed(t *testing.T) {
	b := newBank(t)
	b.before = func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Location", b.URL+"/elsewhere")
		w.WriteHeader(http.StatusTemporaryRedirect)
		return true
	}
	s := load(t, fmt.Sprintf(holdFile, b.URL, "", ""))
	s.want(s.run(false, fifty), "control-point-refused")
	if got := strings.Join(b.asked, ","); got != "POST /holds" {
		t.Errorf("asked %s", got)
	}
}

// TestTranslationsStayWhereTheyBelong: what is put into a path, a header or a query cannot become another one.
func TestTranslationsStayWhereTheyBelong(t *testing.T) {
	const source = `
name: get
effect: false
targets: {other: {url: "https://bank.example/v1"}}
request:
  method: GET
  path: /accounts/{account}/holds
  values: {account: "{% args.account %}"}
  query: {q: "{% args.account %}"}
  headers: {X-Account: "{% args.account %}"}
`
	p, err := controlpoint.Load("get.yaml", []byte(source), controlpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &subject{t: t, action: p.Actions()[0]}
	for account, want := range map[string]string{
		`"a"`: "https://bank.example/v1/accounts/a/holds?q=a", `"../x?y#z"`: "https://bank.example/v1/accounts/..%2Fx%3Fy%23z/holds?q=..%2Fx%3Fy%23z",
		`"a&b=c"`: "https://bank.example/v1/accounts/a&b=c/holds?q=a%26b%3Dc", `12345678901234567890.5`: "https://bank.example/v1/accounts/12345678901234567890.5/holds?q=12345678901234567890.5",
		`".."`: "", `""`: "", `"a\r\nX-Admin: 1"`: "", `{}`: "", `null`: "",
	} {
		planned, err := p.Plan(t.Context(), "get", s.task(false, `{"account":`+account+`}`))
		switch {
		case want == "" && err == nil:
			t.Errorf("%s gives %+v", account, planned)
		case want != "" && (err != nil || planned[0].Request.URL != want):
			t.Errorf("%s gives %+v, %v", account, planned, err)
		}
	}
}

// TestI25NoSecretComesBack: in a result, an error, or what is printed, also when the other system repeats it.
func TestI25NoSecretComesBack(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Seen", r.Header.Get("Authorization"))
		_, password, _ := r.BasicAuth()
		_ = json.NewEncoder(w).Encode(map[string]string{"seen": r.Header.Get("Authorization") + r.Header.Get("X-Key") + password})
	}))
	defer server.Close()
	for name, auth := range map[string]string{
		"bearer": "{bearer: file:x}", "header": "{header: {name: X-Key, value: env:X}}", "basic": "{basic: {user: u, password: env:X}}",
	} {
		source := fmt.Sprintf(getFile, server.URL, ", auth: "+auth) + "response: {result: {body: \"{% response.body %}\", headers: \"{% response.headers %}\"}}\n"
		p, err := controlpoint.Load("get.yaml", []byte(source), options(t, nil))
		if err != nil {
			t.Fatal(err)
		}
		s := &subject{t: t, action: p.Actions()[0]}
		o := s.run(false, `{}`)
		s.want(o, "ok")
		planned, err := p.Plan(t.Context(), "get", s.task(false, `{}`))
		if text := fmt.Sprintf("%s %+v %v", o.Output, planned, err); strings.Contains(text, "hunter2") || !strings.Contains(text, "[redacted]") {
			t.Errorf("%s: %s", name, text)
		}
	}
}
