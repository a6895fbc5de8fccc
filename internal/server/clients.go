package server

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/avalhq/aval/internal/auth"
	"github.com/avalhq/aval/internal/clients"
	"github.com/avalhq/aval/internal/problem"
)

func (s *Server) clientRoutes() {
	route(s, operation("create-client", http.MethodPost, "/v1/clients", "clients", "Register a client", byOperator), s.createClient)
	route(s, operation("list-clients", http.MethodGet, "/v1/clients", "clients", "List the clients", byOperator), s.listClients)
	route(s, operation("get-client", http.MethodGet, "/v1/clients/{id}", "clients", "Read a client; a client reads itself", byEither), s.getClient)
	route(s, operation("set-client-signers", http.MethodPut, "/v1/clients/{id}/signers", "clients", "Say which addresses sign for a client", byOperator), s.setSigners)
	route(s, acting("disable-client", "/v1/clients/{id}/disable", "clients", "Shut a client out, at once", byOperator), s.disableClient)
	route(s, acting("enable-client", "/v1/clients/{id}/enable", "clients", "Let a client in again", byOperator), s.enableClient)
}

// Client is a client as the API shows it.
type Client struct {
	ID       string    `json:"id" example:"cli_01k9x0v7k2f6wr9h0c8m1n2p3q"`
	Name     string    `json:"name"`
	Signers  []string  `json:"signers" nullable:"false" doc:"Addresses that sign for it."`
	Disabled bool      `json:"disabled"`
	Created  time.Time `json:"created"`
	Secret   string    `json:"secret,omitempty" doc:"For the development issuer's token endpoint; shown once, when the client is registered."`
}

// ClientList is all clients.
type ClientList struct {
	Clients []Client `json:"clients" nullable:"false"`
}

func viewOfClient(c clients.Client) Client {
	v := Client{ID: c.ID, Name: c.Name, Signers: make([]string, len(c.Signers)), Disabled: c.Disabled, Created: c.Created.UTC()}
	for i, a := range c.Signers {
		v.Signers[i] = a.Hex()
	}
	return v
}

type createClientInput struct {
	Body struct {
		Name    string   `json:"name" minLength:"1" maxLength:"80"`
		Signers []string `json:"signers" nullable:"false" minItems:"1" maxItems:"100" doc:"Addresses that sign for it: 0x and 40 hex digits."`
	}
}

func (s *Server) createClient(ctx context.Context, in *createClientInput) (*body[Client], error) {
	signers, err := addresses(in.Body.Signers)
	if err != nil {
		return nil, err
	}
	c, err := s.register.Create(ctx, in.Body.Name, signers)
	if err != nil {
		return nil, err
	}
	view := viewOfClient(c)
	if s.Credentials != nil {
		if view.Secret, err = s.Credentials.Enroll(ctx, c.ID, auth.Client); err != nil {
			return nil, err
		}
	}
	return &body[Client]{Body: view}, nil
}

func (s *Server) listClients(ctx context.Context, _ *struct{}) (*body[ClientList], error) {
	all, err := s.Clients.List(ctx)
	if err != nil {
		return nil, err
	}
	out := ClientList{Clients: make([]Client, len(all))}
	for i, c := range all {
		out.Clients[i] = viewOfClient(c)
	}
	return &body[ClientList]{Body: out}, nil
}

func (s *Server) getClient(ctx context.Context, in *byID) (*body[Client], error) {
	if !callerOf(ctx).sees(in.ID) {
		return nil, clients.ErrUnknown
	}
	c, err := s.Clients.Get(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &body[Client]{Body: viewOfClient(c)}, nil
}

type signersInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body struct {
		Signers []string `json:"signers" nullable:"false" minItems:"1" maxItems:"100" doc:"All of them; who is left out signs no more, at once."`
	}
}

func (s *Server) setSigners(ctx context.Context, in *signersInput) (*body[Client], error) {
	signers, err := addresses(in.Body.Signers)
	if err != nil {
		return nil, err
	}
	c, err := s.register.Change(ctx, in.ID, func(c *clients.Client) error {
		c.Signers = signers
		return nil
	})
	return clientOrRefusal(c, err)
}

func (s *Server) disableClient(ctx context.Context, in *byID) (*body[Client], error) {
	return clientOrRefusal(s.register.Disable(ctx, in.ID))
}

func (s *Server) enableClient(ctx context.Context, in *byID) (*body[Client], error) {
	return clientOrRefusal(s.register.Enable(ctx, in.ID))
}

func clientOrRefusal(c clients.Client, err error) (*body[Client], error) {
	if err != nil {
		return nil, err
	}
	return &body[Client]{Body: viewOfClient(c)}, nil
}

// addresses accepts lower case, upper case, and mixed case whose EIP-55 checksum holds.
func addresses(texts []string) ([]common.Address, error) {
	out := make([]common.Address, len(texts))
	for i, text := range texts {
		digits, prefixed := strings.CutPrefix(text, "0x")
		if !prefixed || !common.IsHexAddress(text) {
			return nil, problem.New(problem.Invalid, "address-malformed", "signer %d is not an address: want 0x and 40 hex digits", i+1)
		}
		out[i] = common.HexToAddress(text)
		if digits != strings.ToLower(digits) && digits != strings.ToUpper(digits) && out[i].Hex() != text {
			return nil, problem.New(problem.Invalid, "address-checksum", "the checksum of signer %d does not hold, so the address may be mistyped", i+1)
		}
	}
	return out, nil
}
