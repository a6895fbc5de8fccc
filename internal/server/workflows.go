package server

import (
	"context"
	"net/http"
	"time"

	"github.com/avalhq/aval/internal/action/workflow"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
)

func (s *Server) workflowRoutes() {
	route(s, operation("list-workflows", http.MethodGet, "/v1/workflows", "workflows", "List the workflow definitions and which of them new messages begin with", byOperator), s.listWorkflows)
	install := operation("install-workflow", http.MethodPost, "/v1/workflows/{name}/versions", "workflows", "Check and keep a definition", byOperator)
	install.Description = "Nothing begins with it until an alias directs messages to it. The same definition again changes nothing."
	route(s, install, s.installWorkflow)
	direct := operation("direct-workflow", http.MethodPut, "/v1/workflows/{name}/alias", "workflows", "Say which definitions new messages of a type begin with", byOperator)
	direct.Description = "Each gets messages in proportion to its weight, chosen by the message's id. Messages that have begun stay with their definition. An empty list lifts the alias: new messages begin with the newest definition that Aval was started with."
	route(s, direct, s.directWorkflow)
	migrate := unhurried(acting("migrate-workflow", "/v1/workflows/{name}/migrate", "workflows", "Move live messages from one definition to another", byOperator))
	migrate.Description = "A message moves when the states where it stands, and every effect that it has begun, are there in the new definition, with the same type and action. The others stay and are listed with the reason. Each move is in the message's history. It may be repeated."
	route(s, migrate, s.migrateWorkflow)
}

// WorkflowVersion is a stored definition.
type WorkflowVersion struct {
	Name    string `json:"name" doc:"The message type."`
	Hash    string `json:"hash" doc:"Of its source: its version."`
	Comment string `json:"comment,omitempty"`
	States  int    `json:"states" doc:"Their number; 0 when this process cannot load it, as it names an action that is not there."`
	Newest  bool   `json:"newest" doc:"Aval was started with it; new messages begin with it where no alias says otherwise."`
	Weight  int    `json:"weight,omitempty" doc:"Its share of the type's alias."`
}

// WorkflowList is all stored definitions.
type WorkflowList struct {
	Workflows []WorkflowVersion `json:"workflows" nullable:"false"`
}

func viewOfVersion(v workflow.Version) WorkflowVersion {
	return WorkflowVersion{Name: v.Name, Hash: v.Hash, Comment: v.Comment, States: v.States, Newest: v.Newest, Weight: v.Weight}
}

func (s *Server) listWorkflows(ctx context.Context, _ *struct{}) (*body[WorkflowList], error) {
	all, err := s.Workflows.Versions(ctx)
	if err != nil {
		return nil, err
	}
	out := WorkflowList{Workflows: make([]WorkflowVersion, len(all))}
	for i, v := range all {
		out.Workflows[i] = viewOfVersion(v)
	}
	return &body[WorkflowList]{Body: out}, nil
}

type installInput struct {
	Name string `path:"name" maxLength:"64" doc:"The message type."`
	Body struct {
		Source string `json:"source" minLength:"1" maxLength:"1048576" doc:"The definition, in YAML or JSON."`
	}
}

func (s *Server) installWorkflow(ctx context.Context, in *installInput) (*body[WorkflowVersion], error) {
	v, err := s.Workflows.Install(ctx, in.Name, []byte(in.Body.Source))
	if err != nil {
		return nil, err
	}
	return &body[WorkflowVersion]{Body: viewOfVersion(v)}, nil
}

// WorkflowRoute is a definition's part of an alias.
type WorkflowRoute struct {
	Hash   string `json:"hash" minLength:"1" maxLength:"64"`
	Weight int    `json:"weight" minimum:"1" maximum:"1000000" doc:"Its share of the sum of all weights."`
}

type directInput struct {
	Name string `path:"name" maxLength:"64" doc:"The message type."`
	Body struct {
		Routes []WorkflowRoute `json:"routes" maxItems:"16" nullable:"false"`
	}
}

func (s *Server) directWorkflow(ctx context.Context, in *directInput) (*body[WorkflowList], error) {
	a := guarantee.Alias{Name: in.Name, By: callerOf(ctx).Subject, At: time.Now()}
	for _, r := range in.Body.Routes {
		a.Routes = append(a.Routes, guarantee.Route{Ref: in.Name + "@" + r.Hash, Weight: r.Weight})
	}
	if err := s.Workflows.Direct(ctx, a); err != nil {
		return nil, err
	}
	return s.listWorkflows(ctx, nil)
}

type migrateInput struct {
	Name string `path:"name" maxLength:"64" doc:"The message type."`
	Body struct {
		From   string `json:"from" minLength:"1" maxLength:"64" doc:"Hash of the definition that messages leave."`
		To     string `json:"to" minLength:"1" maxLength:"64" doc:"Hash of the one that they go on with."`
		DryRun bool   `json:"dry_run,omitempty" doc:"Move nothing; tell what would come of it."`
	}
}

// Migration is what came of moving live messages to another definition.
type Migration struct {
	Checked int      `json:"checked" doc:"Live messages of the old definition."`
	Moved   int      `json:"moved" doc:"Of these; in a dry run those that would be."`
	Stayed  []Stayed `json:"stayed" nullable:"false" doc:"The first hundred of the others."`
	DryRun  bool     `json:"dry_run"`
}

// Stayed is a message that cannot be moved.
type Stayed struct {
	ID    message.ID `json:"id"`
	State string     `json:"state"`
	Why   string     `json:"why"`
}

func (s *Server) migrateWorkflow(ctx context.Context, in *migrateInput) (*body[Migration], error) {
	done, err := s.Messages.Migrate(ctx, guarantee.Migration{
		From: in.Name + "@" + in.Body.From, To: in.Name + "@" + in.Body.To, DryRun: in.Body.DryRun, By: callerOf(ctx).Subject,
	})
	if err != nil {
		return nil, err
	}
	out := Migration{Checked: done.Checked, Moved: done.Moved, DryRun: in.Body.DryRun, Stayed: make([]Stayed, len(done.Stayed))}
	for i, m := range done.Stayed {
		out.Stayed[i] = Stayed(m)
	}
	return &body[Migration]{Body: out}, nil
}
