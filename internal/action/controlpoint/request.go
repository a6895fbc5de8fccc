package controlpoint

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/avalhq/aval/internal/problem"
)

// request is how arguments are translated into a request.
type request struct {
	method  string
	path    string
	values  map[string]*template // of the {placeholders} in path
	query   map[string]*template
	headers map[string]*template
	body    *template
}

// Built is a request as it would be sent, but for the secret.
type Built struct {
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    json.RawMessage   `json:"body,omitempty"`
}

var (
	placeholder = regexp.MustCompile(`\{([a-z_]+)\}`)
	token       = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$") // RFC 9110, 5.6.2
)

// headerName tells whether a header of that name may be given: those of the connection, and the one that authenticates,
// are not a translation's to give.
func headerName(name string) bool {
	reserved := []string{"Host", "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "Te", "Trailer", "Authorization", "Proxy-Authorization"}
	return token.MatchString(name) && !slices.Contains(reserved, http.CanonicalHeaderKey(name))
}

func (c *compiler) headers(given map[string]yaml.Node, path string) map[string]*template {
	for _, name := range sorted(given) {
		if !headerName(name) {
			c.wrong(path+"."+name, "is no header that can be given here")
		}
	}
	return c.templates(given, path)
}

func (c *compiler) templates(given map[string]yaml.Node, path string) map[string]*template {
	all := map[string]*template{}
	for _, name := range sorted(given) {
		n := given[name]
		all[name] = c.template(&n, join(path, name))
	}
	return all
}

// compile makes a request of what its file says. A request with an effect is none that servers and those between may repeat.
func (c *compiler) compile(f *requestFile, path, method string, effect bool) *request {
	r := &request{
		method: strings.ToUpper(either(f.Method, method)), path: f.Path, values: c.templates(f.Values, path+".values"),
		query: c.templates(f.Query, path+".query"), headers: c.headers(f.Headers, path+".headers"), body: c.template(&f.Body, path+".body"),
	}
	methods := []string{"GET", "POST", "PUT", "PATCH", "DELETE"}
	if effect {
		methods = methods[1:]
	}
	if !slices.Contains(methods, r.method) {
		c.wrong(path+".method", "is %q; it must be one of %s", r.method, strings.Join(methods, ", "))
	}
	if r.method == "GET" && r.body != nil {
		c.wrong(path+".body", "is there and the method is GET, which has none")
	}
	if r.path != "" && !strings.HasPrefix(r.path, "/") || strings.ContainsAny(r.path, "?#") {
		c.wrong(path+".path", "must begin with / and hold no ? or #; write a query under query")
	}
	named := map[string]bool{}
	for _, m := range placeholder.FindAllStringSubmatch(r.path, -1) {
		named[m[1]] = true
		if r.values[m[1]] == nil {
			c.wrong(path+".path", "has the placeholder {%s}, and values gives nothing for it", m[1])
		}
	}
	for _, name := range sorted(r.values) {
		if !named[name] {
			c.wrong(path+".values."+name, "has no placeholder in the path")
		}
	}
	return r
}

// build translates. What is put into the path cannot change which path it is, nor a header which headers there are.
func (r *request) build(t *target, vars map[string]any) (b Built, err error) {
	path, err := r.fill(vars)
	if err != nil {
		return b, untranslated(t, err)
	}
	b = Built{Method: r.method, URL: t.base + path, Headers: map[string]string{}}
	query := url.Values{}
	for _, name := range sorted(r.query) {
		v, err := r.query[name].string(vars)
		if err != nil {
			return b, untranslated(t, err)
		}
		query.Set(name, v)
	}
	if len(query) > 0 {
		b.URL += "?" + query.Encode()
	}
	if r.body != nil {
		if b.Body, err = r.body.encoded(vars); err != nil {
			return b, untranslated(t, err)
		}
		b.Headers["Content-Type"] = "application/json"
	}
	b.Headers["Accept"] = "application/json"
	for _, headers := range []map[string]*template{t.headers, r.headers} {
		if err := fill(b.Headers, headers, vars); err != nil {
			return b, untranslated(t, err)
		}
	}
	return b, nil
}

func untranslated(t *target, err error) error {
	return problem.New(problem.Unprocessable, "control-point-translation-failed", "the request to %s cannot be made: %w", t.name, err)
}

func (r *request) fill(vars map[string]any) (path string, err error) {
	path = placeholder.ReplaceAllStringFunc(r.path, func(name string) string {
		v, wrong := r.values[name[1:len(name)-1]].string(vars)
		if wrong == nil && (v == "" || v == "." || v == "..") {
			wrong = fmt.Errorf("the value for %s in the path is empty or made of dots", name)
		}
		if wrong != nil {
			err = wrong
		}
		return url.PathEscape(v)
	})
	return path, err
}

// fill evaluates headers into a map by their canonical names.
func fill(into map[string]string, headers map[string]*template, vars map[string]any) error {
	for _, name := range sorted(headers) {
		v, err := headers[name].string(vars)
		if err != nil {
			return err
		}
		if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return fmt.Errorf("the header %s would hold a control character", name)
		}
		into[http.CanonicalHeaderKey(name)] = v
	}
	return nil
}

// request makes the request of package net/http.
//
// That package sends some requests a second time by itself when a connection breaks: those whose body it can read again, and
// those that carry an Idempotency-Key. Neither may happen here, where a repetition is decided on and noted (I5): the body
// can be read once, and the key's header is given under a name that it does not look for. Names of headers are the same
// for all others in any case of letters.
func (b Built) request(ctx context.Context, keyHeader, key string) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, b.Method, b.URL, bytes.NewReader(b.Body))
	if err != nil {
		return nil, err
	}
	r.GetBody = nil
	if len(b.Body) == 0 {
		r.Body = http.NoBody
	}
	for name, v := range b.Headers {
		r.Header.Set(name, v)
	}
	r.Header.Set("User-Agent", "aval")
	if key != "" {
		r.Header.Del(keyHeader)
		r.Header[strings.ToLower(keyHeader)] = []string{key}
	}
	return r, nil
}
