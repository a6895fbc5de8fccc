package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/internal/guarantee"
)

type messageResume struct {
	ID     string `arg:"" optional:"" name:"message" help:"The message's id."`
	HeldBy string `help:"Instead of one: all that this operator has parked, or a restore." placeholder:"NAME"`
	Wallet string `help:"Of these, those about this wallet." placeholder:"WALLET"`
	Doubts bool   `help:"Of these, also those whose key has paid what nobody here knows: you have looked each up, and it is none of them."`
	DryRun bool   `help:"Change nothing; say which would be resumed."`
}

// Help is shown by aval message resume --help.
func (messageResume) Help() string {
	return `A parked message goes on where it stands, with all retries anew.

With --held-by all messages that somebody has parked are resumed, after a restore for example. Left parked are those whose payment could be one that is forgotten: whose wallet's key is set aside, or was acknowledged after they were parked. Look these up on the chain, and resume those that were not paid one by one.

    aval message resume msg_…
    aval message resume --held-by restore --dry-run
    aval message resume --held-by restore`
}

// Run is the command.
func (c *messageResume) Run(ctx context.Context, s *screen, a *access) error {
	if (c.ID == "") == (c.HeldBy == "") {
		return misused("usage", "name a message, or with --held-by who has parked those that are meant; aval message resume --help shows how")
	}
	if c.ID != "" {
		return s.operate(a, func(api *client.Client) (client.Record, error) { return api.Resume(ctx, c.ID) })
	}
	api, err := a.asOperator()
	if err != nil {
		return err
	}
	held, err := c.held(ctx, api)
	if err != nil {
		return err
	}
	look := &doubts{api: api, acknowledged: map[string][]client.KeyEntry{}}
	if err := look.read(ctx); err != nil {
		return err
	}
	done := resumed{DryRun: c.DryRun, Resumed: []string{}, Left: []left{}}
	for _, m := range held {
		why, err := look.about(ctx, m)
		if err != nil {
			return err
		}
		if why != "" && !c.Doubts {
			done.Left = append(done.Left, left{m.ID, why})
			continue
		}
		if !c.DryRun {
			if _, err := api.Resume(ctx, m.ID); err != nil {
				return fmt.Errorf("resume %s, after %d others: %w", m.ID, len(done.Resumed), err)
			}
		}
		done.Resumed = append(done.Resumed, m.ID)
	}
	s.answer(done, func() { done.tell(s) })
	return nil
}

// resumed is what was done.
type resumed struct {
	DryRun  bool     `json:"dry_run"`
	Resumed []string `json:"resumed"`
	Left    []left   `json:"left"`
}

// left is a message that stays parked.
type left struct {
	ID  string `json:"message"`
	Why string `json:"why"`
}

func (r resumed) tell(s *screen) {
	did := "resumed"
	if r.DryRun {
		did = "would be resumed"
	}
	var rows [][]string
	for _, id := range r.Resumed {
		rows = append(rows, []string{id, did})
	}
	for _, l := range r.Left {
		rows = append(rows, []string{l.ID, "left parked: " + l.Why})
	}
	s.table([]string{"MESSAGE", ""}, rows, "No message is parked by them.")
}

// held are the messages that are meant.
func (c *messageResume) held(ctx context.Context, api *client.Client) (held []client.Record, err error) {
	for q := (client.Query{Status: client.Parked, Wallet: c.Wallet, Limit: 500}); ; {
		page, err := api.List(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, m := range page.Messages {
			if strings.HasPrefix(m.Reason, guarantee.HeldBy(c.HeldBy)) {
				held = append(held, m)
			}
		}
		if q.Cursor = page.Next; q.Cursor == "" {
			return held, nil
		}
	}
}

// doubts says of messages whether they could have been paid without a trace in this installation.
type doubts struct {
	api          *client.Client
	keyOf        map[string]string // by wallet
	aside        map[string]bool   // by key
	acknowledged map[string][]client.KeyEntry
}

func (d *doubts) read(ctx context.Context) error {
	wallets, err := d.api.Wallets(ctx)
	if err != nil {
		return err
	}
	keys, err := d.api.Keys(ctx)
	if err != nil {
		return err
	}
	d.keyOf, d.aside = map[string]string{}, map[string]bool{}
	for _, w := range wallets {
		d.keyOf[w.ID] = w.Key
	}
	for _, k := range keys {
		d.aside[k.ID] = k.Status == "quarantined"
	}
	return nil
}

// about is what there is to doubt, "" for nothing.
func (d *doubts) about(ctx context.Context, m client.Record) (string, error) {
	key := d.keyOf[m.Wallet]
	switch {
	case m.Wallet == "":
		return "", nil
	case key == "":
		return "there is no wallet " + m.Wallet, nil
	case d.aside[key]:
		return fmt.Sprintf("its key %s is set aside; aval key show says why", key), nil
	}
	entries, known := d.acknowledged[key]
	if !known {
		var err error
		if entries, err = d.api.KeyEntries(ctx, key); err != nil {
			return "", err
		}
		d.acknowledged[key] = entries
	}
	for _, e := range entries {
		if e.What == "acknowledged" && e.At.After(m.Updated) {
			return fmt.Sprintf("its key %s has paid what is not known here, as %s acknowledged: %s", key, e.By, e.Why), nil
		}
	}
	return "", nil
}
