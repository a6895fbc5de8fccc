package server

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
)

func (s *Server) catalogRoutes() {
	route(s, operation("list-types", http.MethodGet, "/v1/types", "catalog", "List the message types", byEither), s.listTypes)
	route(s, operation("get-type", http.MethodGet, "/v1/types/{type}", "catalog", "Read a message type: its JSON Schema and its EIP-712 struct", byEither), s.getType)
	route(s, operation("list-chains", http.MethodGet, "/v1/chains", "catalog", "List the chains", byEither), s.listChains)
}

// Chain is a chain that this installation serves.
type Chain struct {
	ID            string         `json:"id" doc:"CAIP-2." example:"eip155:1337"`
	Name          string         `json:"name"`
	RPC           string         `json:"rpc,omitempty" doc:"Its JSON-RPC address, for a development chain."`
	Confirmations uint64         `json:"confirmations" doc:"Blocks, its own included, after which a transaction counts as final."`
	Domain        message.Domain `json:"domain" doc:"The EIP-712 domain to sign messages for this chain under."`
}

// ChainDomain is the EIP-712 domain for a chain.
type ChainDomain struct {
	Chain  string         `json:"chain"`
	Domain message.Domain `json:"domain"`
}

// ChainList is all chains.
type ChainList struct {
	Chains []Chain `json:"chains" nullable:"false"`
}

// MessageType is what a client has to know to sign a message of a type.
type MessageType struct {
	Name   string          `json:"name" example:"transfer.v1"`
	Schema json.RawMessage `json:"schema" doc:"JSON Schema of the message's body."`
	Struct Struct          `json:"struct"`
}

// Struct is the EIP-712 struct of a message type.
type Struct struct {
	Name   string          `json:"name" example:"Transfer"`
	Fields []message.Field `json:"fields" nullable:"false" doc:"In order; the envelope's first, then the body's."`
}

// TypeList is the names of all message types.
type TypeList struct {
	Types []string `json:"types" nullable:"false"`
}

func (s *Server) serves(chain string) bool {
	for _, c := range s.config.Chains {
		if c.ID == chain {
			return true
		}
	}
	return false
}

func (s *Server) listChains(context.Context, *struct{}) (*body[ChainList], error) {
	return &body[ChainList]{Body: ChainList{Chains: append([]Chain{}, s.config.Chains...)}}, nil
}

func (s *Server) listTypes(context.Context, *struct{}) (*body[TypeList], error) {
	return &body[TypeList]{Body: TypeList{Types: s.Types.Types()}}, nil
}

type typeInput struct {
	Type string `path:"type" maxLength:"64"`
}

func (s *Server) getType(_ context.Context, in *typeInput) (*body[MessageType], error) {
	if !slices.Contains(s.Types.Types(), in.Type) {
		return nil, problem.New(problem.NotFound, "message-type-unknown", "there is no such message type; GET /v1/types lists them")
	}
	schema, err := s.Types.Schema(in.Type)
	if err != nil {
		return nil, err
	}
	name, fields, err := s.Types.Struct(in.Type)
	if err != nil {
		return nil, err
	}
	return &body[MessageType]{Body: MessageType{Name: in.Type, Schema: schema, Struct: Struct{Name: name, Fields: fields}}}, nil
}
