package main

import (
	"context"
	"strings"

	"github.com/avalhq/aval/client"
)

type clientCommands struct {
	Create  clientCreate  `cmd:"" help:"Register a client."`
	List    clientList    `cmd:"" help:"List the clients."`
	Show    clientShow    `cmd:"" help:"Show a client; a client sees itself."`
	Signers clientSigners `cmd:"" help:"Replace the addresses that sign for a client."`
	Disable clientDisable `cmd:"" help:"Shut a client out, at once."`
	Enable  clientEnable  `cmd:"" help:"Let a client in again."`
}

// Help is shown by aval client --help.
func (clientCommands) Help() string {
	return `A client is who may instruct Aval: a name, and the addresses that sign its messages. All but show is for operators.

    aval key new-signer signer.json
    aval client create 'Back office' --signer 0x…
    aval client signers cli_… 0x… 0x…`
}

type clientCreate struct {
	Name   string   `arg:"" help:"Its name."`
	Signer []string `required:"" help:"An address that signs for it. May be repeated." placeholder:"ADDRESS"`
}

// Run is the command.
func (c *clientCreate) Run(ctx context.Context, s *screen, a *access) error {
	return s.register(a, func(api *client.Client) (client.Party, error) { return api.CreateClient(ctx, c.Name, c.Signer...) })
}

// register does something to the register as its operator, and shows the client as it is then.
func (s *screen) register(a *access, do func(*client.Client) (client.Party, error)) error {
	api, err := a.asOperator()
	if err != nil {
		return err
	}
	party, err := do(api)
	if err == nil {
		s.party(party)
	}
	return err
}

func (s *screen) party(p client.Party) {
	s.answer(p, func() {
		s.facts([2]string{"client", p.ID}, [2]string{"name", p.Name}, [2]string{"signers", strings.Join(p.Signers, ", ")},
			[2]string{"state", activity(p)}, [2]string{"created", moment(p.Created)}, [2]string{"secret", p.Secret})
		if p.Secret != "" {
			s.note("\nThe secret is told this once. It goes with the id into AVAL_CLIENT_ID and AVAL_CLIENT_SECRET.")
		}
	})
}

func activity(p client.Party) string {
	if p.Disabled {
		return "disabled"
	}
	return "enabled"
}

type clientList struct{}

// Run is the command.
func (clientList) Run(ctx context.Context, s *screen, a *access) error {
	api, err := a.asOperator()
	if err != nil {
		return err
	}
	all, err := api.Clients(ctx)
	if err != nil {
		return err
	}
	s.answer(map[string]any{"clients": append([]client.Party{}, all...)}, func() {
		var rows [][]string
		for _, p := range all {
			rows = append(rows, []string{p.ID, p.Name, activity(p), moment(p.Created), strings.Join(p.Signers, ", ")})
		}
		s.table([]string{"CLIENT", "NAME", "STATE", "CREATED", "SIGNERS"}, rows, "No client is registered yet; aval client create NAME --signer ADDRESS registers one.")
	})
	return nil
}

// oneParty names a client of the register.
type oneParty struct {
	ID string `arg:"" name:"client" help:"The client's id."`
}

type clientShow struct{ oneParty }

// Run is the command.
func (c *clientShow) Run(ctx context.Context, s *screen, a *access) error {
	api, err := a.asClient()
	if err != nil {
		return err
	}
	party, err := api.ReadClient(ctx, c.ID)
	if err == nil {
		s.party(party)
	}
	return err
}

type clientSigners struct {
	oneParty
	Signers []string `arg:"" help:"All of its signers; who is left out signs no more."`
}

// Run is the command.
func (c *clientSigners) Run(ctx context.Context, s *screen, a *access) error {
	return s.register(a, func(api *client.Client) (client.Party, error) { return api.SetSigners(ctx, c.ID, c.Signers...) })
}

type clientDisable struct{ oneParty }

// Run is the command.
func (c *clientDisable) Run(ctx context.Context, s *screen, a *access) error {
	return s.register(a, func(api *client.Client) (client.Party, error) { return api.Disable(ctx, c.ID) })
}

type clientEnable struct{ oneParty }

// Run is the command.
func (c *clientEnable) Run(ctx context.Context, s *screen, a *access) error {
	return s.register(a, func(api *client.Client) (client.Party, error) { return api.Enable(ctx, c.ID) })
}
