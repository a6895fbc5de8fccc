package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
)

// Workflow is a stored definition of what happens to messages of one type.
type Workflow struct {
	Name    string `json:"name"` // the message type
	Hash    string `json:"hash"` // its version
	Comment string `json:"comment,omitempty"`
	States  int    `json:"states"`
	Newest  bool   `json:"newest"`           // Aval was started with it
	Weight  int    `json:"weight,omitempty"` // its share of the type's alias
}

// Route is a definition's part of an alias.
type Route struct {
	Hash   string `json:"hash"`
	Weight int    `json:"weight"` // its share of the sum of all weights
}

// Workflows lists the stored definitions. For operators.
func (c *Client) Workflows(ctx context.Context) ([]Workflow, error) {
	var out struct{ Workflows []Workflow }
	err := c.get(ctx, "/v1/workflows", &out)
	return out.Workflows, err
}

// InstallWorkflow checks and keeps a definition, in YAML or JSON, for messages of a type. None begins with it until
// DirectWorkflow says so. For operators.
func (c *Client) InstallWorkflow(ctx context.Context, name string, source []byte) (Workflow, error) {
	var out Workflow
	err := c.post(ctx, "/v1/workflows/"+url.PathEscape(name)+"/versions", map[string]string{"source": string(source)}, &out, true)
	return out, err
}

// DirectWorkflow says which definitions new messages of a type begin with; no routes means the newest again. It gives all
// definitions as they are afterwards. For operators.
func (c *Client) DirectWorkflow(ctx context.Context, name string, routes ...Route) ([]Workflow, error) {
	var out struct{ Workflows []Workflow }
	body, err := json.Marshal(map[string]any{"routes": append([]Route{}, routes...)})
	if err == nil {
		err = c.do(ctx, call{method: http.MethodPut, path: "/v1/workflows/" + url.PathEscape(name) + "/alias", body: body, repeatable: true}, &out)
	}
	return out.Workflows, err
}

// Migration asks that live messages go on with another definition.
type Migration struct {
	From   string `json:"from"` // hash of the definition that they leave
	To     string `json:"to"`
	DryRun bool   `json:"dry_run,omitempty"`
}

// Migrated is what came of a migration.
type Migrated struct {
	Checked int `json:"checked"` // live messages of the old definition
	Moved   int `json:"moved"`   // in a dry run, those that would be
	Stayed  []struct {
		ID    string `json:"id"`
		State string `json:"state"`
		Why   string `json:"why"`
	} `json:"stayed"` // the first hundred of the others
	DryRun bool `json:"dry_run"`
}

// MigrateWorkflow moves the live messages of a type from one definition to another; those that cannot go on there stay. For
// operators.
func (c *Client) MigrateWorkflow(ctx context.Context, name string, m Migration) (Migrated, error) {
	var out Migrated
	err := c.post(ctx, "/v1/workflows/"+url.PathEscape(name)+"/migrate", m, &out, true)
	return out, err
}
