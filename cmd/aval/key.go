package main

import (
	"context"
	"fmt"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/internal/problem"
)

type keyCommands struct {
	List        keyList        `cmd:"" help:"List the signing keys and who is using them (operator)."`
	Show        keyShow        `cmd:"" help:"Show a signing key (operator)."`
	Release     keyRelease     `cmd:"" help:"End a key's quarantine, if the chain agrees (operator)."`
	Acknowledge keyAcknowledge `cmd:"" help:"Let a key be used again that somebody else has used (operator)."`
	Import      keyImport      `cmd:"" help:"Bring sealed keys from a folder into the database."`
	RotateKek   keyRotate      `cmd:"" help:"Change the key-encryption key, which wraps the sealed keys."`
	NewSigner   keyNewSigner   `cmd:"" help:"Make a client's signer key, in a file."`
}

// Help is shown by aval key --help.
func (keyCommands) Help() string {
	return `Signing keys are custody keys: Aval holds them sealed and shows their handles alone. A signer key is the client's own, with which it signs messages; Aval knows its address alone.

    aval key list
    aval key new-signer signer.json`
}

type keyList struct{}

// Run is the command.
func (keyList) Run(ctx context.Context, s *screen, a *access) error {
	keys, err := keysOf(ctx, a)
	if err != nil {
		return err
	}
	s.answer(map[string]any{"keys": append([]client.Key{}, keys...)}, func() {
		var rows [][]string
		for _, k := range keys {
			rows = append(rows, []string{k.ID, k.Address, k.Chain, k.Status, fmt.Sprint(k.Nonce), fmt.Sprint(k.Fence), lastUsed(k), k.Holder})
		}
		s.table([]string{"KEY", "ADDRESS", "CHAIN", "STATUS", "NONCE", "FENCE", "LAST USED", "HOLDER"}, rows, "There is no key yet; each wallet gets one.")
	})
	return nil
}

func keysOf(ctx context.Context, a *access) ([]client.Key, error) {
	api, err := a.asOperator()
	if err != nil {
		return nil, err
	}
	return api.Keys(ctx)
}

func lastUsed(k client.Key) string {
	if k.LastUsed == nil {
		return ""
	}
	return moment(*k.LastUsed)
}

func (s *screen) key(k client.Key) {
	s.answer(k, func() {
		s.facts([2]string{"key", k.ID}, [2]string{"address", k.Address}, [2]string{"chain", k.Chain}, [2]string{"pool", k.Pool}, [2]string{"status", k.Status},
			[2]string{"holder", k.Holder}, [2]string{"reason", k.Reason}, [2]string{"next nonce", fmt.Sprint(k.Nonce)}, [2]string{"fence", fmt.Sprint(k.Fence)},
			[2]string{"last used", lastUsed(k)})
	})
}

type keyShow struct {
	ID string `arg:"" name:"key" help:"The key's id."`
}

// Run is the command.
func (c *keyShow) Run(ctx context.Context, s *screen, a *access) error {
	keys, err := keysOf(ctx, a)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if k.ID == c.ID {
			s.key(k)
			return nil
		}
	}
	return problem.New(problem.NotFound, "key-unknown", "there is no key %s; aval key list shows those that there are", c.ID)
}

type keyRelease struct {
	ID string `arg:"" name:"key" help:"The key's id."`
}

// Help is shown by aval key release --help.
func (keyRelease) Help() string {
	return `A key whose worker failed is in quarantine until its next nonce is held against the chain. When the chain is ahead of what was decided here, the key is used elsewhere, and it stays in quarantine.`
}

// Run is the command.
func (c *keyRelease) Run(ctx context.Context, s *screen, a *access) error {
	api, err := a.asOperator()
	if err != nil {
		return err
	}
	k, err := api.Reconcile(ctx, c.ID)
	if err == nil {
		s.key(k)
	}
	return err
}

type keyAcknowledge struct {
	ID     string `arg:"" name:"key" help:"The key's id."`
	Spent  uint64 `required:"" help:"How many of the key's nonces the chain has spent, as an explorer shows it, or aval tx why of one of its transactions."`
	Reason string `required:"" help:"What they were spent on, and why the key may be used again. It is kept under your name."`
}

// Help is shown by aval key acknowledge --help.
func (keyAcknowledge) Help() string {
	return `When the chain shows that a key has sent what Aval did not decide, nothing more is signed with it (key-foreign-use). Find out first who else has the key, or whether the data folder was restored from an older copy: what it has forgotten may have been paid already.

Transactions whose nonces were spent by somebody else can never be mined: their messages fail with transaction-superseded once they are resumed. Those of which no node can tell stay unknown until aval tx resolve. All others go on.

    aval key acknowledge key_… --spent 42 --reason 'emptied by the old system on Monday; it is switched off'`
}

// Run is the command.
func (c *keyAcknowledge) Run(ctx context.Context, s *screen, a *access) error {
	api, err := a.asOperator()
	if err != nil {
		return err
	}
	k, err := api.Acknowledge(ctx, c.ID, c.Spent, c.Reason)
	if err == nil {
		s.key(k)
	}
	return err
}

type keyNewSigner struct {
	File string `arg:"" help:"The file to write, readable by you alone. None is replaced."`
}

// Run is the command.
func (c *keyNewSigner) Run(s *screen) error {
	k, err := newSignerKey()
	if err != nil {
		return err
	}
	if err := k.write(c.File); err != nil {
		return err
	}
	s.answer(map[string]string{"address": k.Address, "file": c.File}, func() {
		s.facts([2]string{"address", k.Address}, [2]string{"file", c.File})
		s.note("\nKeep the file where the client signs, and back it up. aval client create NAME --signer %s registers it.", k.Address)
	})
	return nil
}
