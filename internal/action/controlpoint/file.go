package controlpoint

import (
	"time"

	"go.yaml.in/yaml/v3"
)

// file is a control point as it is written. docs/control-points.md explains the fields to whoever writes one.
type file struct {
	Name          string                `yaml:"name"`
	Comment       string                `yaml:"comment"`
	Effect        *bool                 `yaml:"effect"`
	Targets       map[string]targetFile `yaml:"targets"`
	operationFile `yaml:",inline"`

	Compensation *compensationFile `yaml:"compensation"`
}

// operationFile is what is asked for and what comes back: of the control point, and of its compensation.
type operationFile struct {
	Arguments yaml.Node     `yaml:"arguments"`
	Result    yaml.Node     `yaml:"result"`
	Route     []routeFile   `yaml:"route"`
	Gather    *gatherFile   `yaml:"gather"`
	Request   *requestFile  `yaml:"request"`
	Response  *responseFile `yaml:"response"`
	Lookup    *lookupFile   `yaml:"lookup"`
}

type compensationFile struct {
	Needed        *bool `yaml:"needed"`
	operationFile `yaml:",inline"`
}

// targetFile is one system that can be asked. What it gives of request, response and lookup is in place of the control point's.
type targetFile struct {
	URL         string               `yaml:"url"`
	Headers     map[string]yaml.Node `yaml:"headers"`
	Auth        *authFile            `yaml:"auth"`
	TLS         *tlsFile             `yaml:"tls"`
	Timeout     time.Duration        `yaml:"timeout"`
	MaxResponse int                  `yaml:"max_response"`
	Idempotent  bool                 `yaml:"idempotent"`
	KeyHeader   string               `yaml:"key_header"`
	Parallel    int                  `yaml:"parallel"`
	Rate        *rateFile            `yaml:"rate"`
	Breaker     *breakerFile         `yaml:"breaker"`
	Request     *requestFile         `yaml:"request"`
	Response    *responseFile        `yaml:"response"`
	Lookup      *lookupFile          `yaml:"lookup"`
}

type authFile struct {
	Bearer string          `yaml:"bearer"`
	Basic  *basicFile      `yaml:"basic"`
	Header *headerAuthFile `yaml:"header"`
}

type basicFile struct {
	User     string `yaml:"user"`
	Password string `yaml:"password"`
}

type headerAuthFile struct {
	Name  string `yaml:"name"`
	Value string `yaml:"value"`
}

type tlsFile struct {
	CA          string `yaml:"ca"`
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
	ServerName  string `yaml:"server_name"`
}

type rateFile struct {
	Calls int           `yaml:"calls"`
	Per   time.Duration `yaml:"per"`
}

type breakerFile struct {
	Failures int           `yaml:"failures"`
	Pause    time.Duration `yaml:"pause"`
}

type requestFile struct {
	Method  string               `yaml:"method"`
	Path    string               `yaml:"path"`
	Values  map[string]yaml.Node `yaml:"values"`
	Query   map[string]yaml.Node `yaml:"query"`
	Headers map[string]yaml.Node `yaml:"headers"`
	Body    yaml.Node            `yaml:"body"`
}

type lookupFile struct {
	requestFile `yaml:",inline"`
	Absent      []string      `yaml:"absent"`
	Settle      time.Duration `yaml:"settle"`
}

type responseFile struct {
	Success     []string      `yaml:"success"`
	Retry       []string      `yaml:"retry"`
	NothingDone []string      `yaml:"nothing_done"`
	Pending     string        `yaml:"pending"`
	Again       time.Duration `yaml:"again"`
	Refusals    []refusalFile `yaml:"refusals"`
	Result      yaml.Node     `yaml:"result"`
}

type refusalFile struct {
	Status []string `yaml:"status"`
	When   string   `yaml:"when"`
	Name   string   `yaml:"name"`
	Detail string   `yaml:"detail"`
}

type routeFile struct {
	When string   `yaml:"when"`
	To   []string `yaml:"to"`
}

type gatherFile struct {
	Want   string    `yaml:"want"`
	Quorum int       `yaml:"quorum"`
	Result yaml.Node `yaml:"result"`
}
