package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/avalhq/aval/internal/auth"
)

const description = `Aval carries out signed instructions exactly once.

A client asks for message ids, signs a message that holds one, and submits it; Aval validates, authorises, signs with a custody key, sends, confirms, records and archives.

Every failure is a problem document (RFC 9457); its type ends in a code that stays the same. Streams are server-sent events and resume with Last-Event-ID. Lists page with an opaque cursor.`

// openAPI is huma's configuration: JSON alone, no links or fields added to bodies, no pages. All of it belongs to this
// server; none of huma's package variables is touched.
func (s *Server) openAPI() huma.Config {
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "Aval", Version: s.config.Version, Description: description,
				License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
			},
			Tags: []*huma.Tag{
				{Name: "messages", Description: "Issue ids, submit, follow."},
				{Name: "tasks", Description: "Answer what a workflow waits for."},
				{Name: "operators", Description: "What people do when something needs a person."},
				{Name: "clients", Description: "Who may instruct Aval, and which addresses sign for them."},
				{Name: "wallets", Description: "Addresses that Aval holds the keys of."},
				{Name: "keys", Description: "Signing keys and who is using them."},
				{Name: "catalog", Description: "Message types and chains."},
			},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{scheme: {
					Type: "http", Scheme: "bearer", BearerFormat: "JWT",
					Description: "An access token of the configured OIDC issuer. Scopes: " + auth.Client + " (the subject is a client id), " + auth.Operator + ", " + auth.Task + " (answers tasks whose task tokens it has, and nothing else).",
				}},
			},
		},
		Formats:                      huma.DefaultFormats,
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{s.form},
	}
}

// route registers an operation whose errors are rendered as problems.
func route[I, O any](s *Server, op huma.Operation, handle func(context.Context, *I) (*O, error)) {
	problems := s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "Problem")
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	op.Responses["default"] = &huma.Response{
		Description: "A problem.",
		Content:     map[string]*huma.MediaType{"application/problem+json": {Schema: problems}},
	}
	op.MaxBodyBytes = s.config.MaxBody + 1 // huma refuses what reaches the limit, we what passes it
	op.BodyReadTimeout = s.config.Timeout
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := handle(ctx, in)
		if err != nil {
			return nil, s.problem(ctx, err)
		}
		return out, nil
	})
}

// operation is what every registration needs; the id is the operation's name in generated clients.
func operation(id, method, path, tag, summary string, security []map[string][]string) huma.Operation {
	op := huma.Operation{OperationID: id, Method: method, Path: path, Tags: []string{tag}, Summary: summary, Security: security}
	if method == http.MethodPost {
		op.DefaultStatus = http.StatusCreated
	}
	return op
}

// acting is an operation that changes something without creating it.
func acting(id, path, tag, summary string, security []map[string][]string) huma.Operation {
	op := operation(id, http.MethodPost, path, tag, summary, security)
	op.DefaultStatus = http.StatusOK
	return op
}

// render writes the document once. huma's own error model is registered by huma and never sent: it is left out.
func (s *Server) render() ([]byte, error) {
	schemas := s.api.OpenAPI().Components.Schemas.Map()
	delete(schemas, "ErrorModel")
	delete(schemas, "ErrorDetail")
	compact, err := json.Marshal(s.api.OpenAPI())
	if err != nil {
		return nil, fmt.Errorf("write the OpenAPI document: %w", err)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, compact, "", "  "); err != nil {
		return nil, fmt.Errorf("write the OpenAPI document: %w", err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// OpenAPI is the document that the server serves.
func (s *Server) OpenAPI() []byte { return s.document }
