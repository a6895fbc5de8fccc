package config

import (
	"net/url"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Endpoint is a URL or path whose part after the host may hold an access key. Converted to a string it is the whole;
// printed, logged or marshalled it ends after the host.
type Endpoint string

// String is the endpoint as it may be shown.
func (e Endpoint) String() string {
	u, err := url.Parse(string(e))
	switch {
	case err != nil:
		return "(not a URL)"
	case u.Host == "" && u.Scheme == "":
		return string(e) // a path, or empty
	}
	return u.Scheme + "://" + u.Host
}

// MarshalText keeps what String leaves out of JSON and YAML as well.
func (e Endpoint) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// Endpoints are several of them. In YAML they are a list, or the one alone; "" is none.
type Endpoints []Endpoint

// String is the endpoints as they may be shown.
func (e Endpoints) String() string {
	shown := make([]string, len(e))
	for i, one := range e {
		shown[i] = one.String()
	}
	return strings.Join(shown, ", ")
}

// Strings are the endpoints as they are.
func (e Endpoints) Strings() []string {
	all := make([]string, len(e))
	for i, one := range e {
		all[i] = string(one)
	}
	return all
}

// UnmarshalYAML takes a list, or one endpoint in its place.
func (e *Endpoints) UnmarshalYAML(node *yaml.Node) error {
	var all []Endpoint
	if node.Kind == yaml.ScalarNode {
		all = []Endpoint{Endpoint(node.Value)}
	} else if err := node.Decode(&all); err != nil {
		return err
	}
	if *e = all; len(all) == 1 && all[0] == "" {
		*e = nil
	}
	return nil
}
