package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/schemas"
)

// draft is what a message is to say.
type draft struct {
	Type   string            `arg:"" help:"The message type; aval message types lists them."`
	Body   string            `help:"A file with the body as a JSON object, or - for standard input. The flags below come over it." placeholder:"FILE"`
	Wallet string            `help:"The wallet that pays or calls. Without it: the profile's." placeholder:"WALLET"`
	To     string            `help:"The address that is paid or called." placeholder:"ADDRESS"`
	Asset  string            `help:"What is sent: native (without this flag), or erc20:0x…." placeholder:"ASSET"`
	Amount string            `help:"How much: digits of the smallest unit, or for the chain's coin such as 1.5 ether." placeholder:"AMOUNT"`
	Memo   string            `help:"A note for your own books." placeholder:"TEXT"`
	Field  map[string]string `short:"f" mapsep:"none" help:"Any other field of the body, such as -f text=hello. May be repeated." placeholder:"NAME=VALUE"`
	Chain  string            `help:"The chain, such as eip155:1337. Without it: the one that there is." placeholder:"CHAIN"`
	Key    string            `help:"The file with the client's signer key. Without it: the profile's." placeholder:"FILE"`
	Scheme string            `enum:"eip712,eip191" default:"eip712" help:"How to sign: eip712 (typed data) or eip191 (canonical JSON)." placeholder:"SCHEME"`
}

// content puts the body together.
func (d *draft) content(s *screen, p profile) (json.RawMessage, error) {
	body := map[string]any{}
	if d.Body != "" {
		raw, err := readInput(d.Body, s.in)
		if err != nil {
			return nil, err
		}
		decoder := json.NewDecoder(strings.NewReader(string(raw)))
		decoder.UseNumber()
		if err := decoder.Decode(&body); err != nil {
			return nil, misused("body-malformed", "the body in %s is not a JSON object: %w", d.Body, err)
		}
	}
	for name, value := range map[string]string{"wallet": d.Wallet, "to": d.To, "asset": d.Asset, "memo": d.Memo} {
		if value != "" {
			body[name] = value
		}
	}
	for name, value := range d.Field {
		body[name] = value
	}
	if err := d.complete(body, p); err != nil {
		return nil, err
	}
	if d.Amount != "" {
		asset, _ := body["asset"].(string)
		n, err := readAmount(d.Amount, asset)
		if err != nil {
			return nil, err
		}
		body["amount"] = n.String()
	}
	return json.Marshal(body)
}

// complete fills in what a transfer or call of the ready-made client leaves open, and encodes a call that is given by function
// and arguments.
func (d *draft) complete(body map[string]any, p profile) error {
	moves := d.Type == "transfer.v1" || d.Type == "call.v1"
	if moves && body["wallet"] == nil && p.Wallet != "" {
		body["wallet"] = p.Wallet
	}
	if d.Type == "transfer.v1" && body["asset"] == nil {
		body["asset"] = "native"
	}
	function, _ := body["function"].(string)
	args, _ := body["args"].(string)
	if d.Type == "call.v1" && body["data"] == nil && function != "" && args != "" {
		data, err := client.Calldata(function, args)
		if err != nil {
			return misused("calldata-mismatch", "the call cannot be encoded: %w", err)
		}
		body["data"] = data
	}
	return nil
}

// signer finds the key to sign with.
func (d *draft) signer(p profile) (signerKey, error) {
	if d.Key != "" {
		return readSignerKey(d.Key)
	}
	if p.Signer.Private == "" {
		return signerKey{}, misused("signer-key-missing", "there is no key to sign with: give --key FILE; aval key new-signer FILE makes one")
	}
	return p.Signer, nil
}

// message makes the message under the first id.
func (d *draft) message(ids client.IDs, body json.RawMessage) (client.Message, client.Domain, error) {
	if len(ids.IDs) == 0 {
		return client.Message{}, client.Domain{}, misused("ids-empty", "there is no message id to sign with; aval message issue --output json gives one")
	}
	if d.Chain == "" && len(ids.Domains) == 1 {
		d.Chain = ids.Domains[0].Chain
	}
	m := client.Message{ID: ids.IDs[0].ID, Type: d.Type, Client: ids.Client, Chain: d.Chain, Expires: ids.IDs[0].Expires.Truncate(time.Second), Body: body}
	for _, domain := range ids.Domains {
		if domain.Chain == d.Chain {
			return m, domain.Domain, nil
		}
	}
	return m, client.Domain{}, misused("chain-unknown", "the installation does not serve the chain %q; --chain takes one that came with the ids", d.Chain)
}

// sign makes the bytes to submit.
func (d *draft) sign(m client.Message, domain client.Domain, p profile) ([]byte, error) {
	k, err := d.signer(p)
	if err != nil {
		return nil, err
	}
	key, err := k.key()
	if err != nil {
		return nil, misused("signer-key-malformed", "the signer key cannot be used: %w", err)
	}
	types, err := client.ShippedTypes()
	if err != nil {
		return nil, err
	}
	return types.Sign(m, client.Scheme(d.Scheme), domain, client.KeySigner(key))
}

// preview gives what would be signed, and its digest.
func (d *draft) preview(m client.Message, domain client.Domain) (json.RawMessage, common.Hash, error) {
	catalog, err := message.NewCatalog(schemas.FS())
	if err != nil {
		return nil, common.Hash{}, err
	}
	body, err := json.Marshal(m.Body)
	if err != nil {
		return nil, common.Hash{}, err
	}
	unsigned := message.Message{ID: message.ID(m.ID), Type: m.Type, Client: m.Client, Chain: m.Chain, Expires: m.Expires, Body: body}
	if client.Scheme(d.Scheme) == client.EIP191 {
		return catalog.Canonical(unsigned)
	}
	return catalog.TypedData(unsigned, message.Domain{
		Name: domain.Name, Version: domain.Version, ChainID: domain.ChainID, VerifyingContract: common.HexToAddress(domain.VerifyingContract),
	})
}

type messageSign struct {
	draft
	IDs    string `required:"" name:"ids" help:"The file with the ids from aval message issue --output json, or - for standard input; the first is used." placeholder:"FILE"`
	DryRun bool   `help:"Print what would be signed and its digest, and sign nothing."`
}

// Help is shown by aval message sign --help.
func (messageSign) Help() string {
	return `It needs no connection, so it can run where the key is. What it prints is what aval message submit takes.

    aval message sign transfer.v1 --ids ids.json --key signer.json --wallet wal_… --to 0x… --amount 25000000 --asset erc20:0x… > signed.json
    aval message sign note.v1 --ids ids.json -f text='Reserve reconciled.' --dry-run`
}

// Run is the command.
func (c *messageSign) Run(s *screen, a *access) error {
	p, err := a.defaults()
	if err != nil {
		return err
	}
	raw, err := readInput(c.IDs, s.in)
	if err != nil {
		return err
	}
	var ids client.IDs
	if err := json.Unmarshal(raw, &ids); err != nil {
		return misused("ids-malformed", "%s does not hold what aval message issue --output json prints: %w", c.IDs, err)
	}
	body, err := c.content(s, p)
	if err != nil {
		return err
	}
	m, domain, err := c.message(ids, body)
	if err != nil {
		return err
	}
	if c.DryRun {
		document, digest, err := c.preview(m, domain)
		if err != nil {
			return err
		}
		v := map[string]any{"scheme": c.Scheme, "payload": document, "digest": digest.Hex()}
		raw, err := json.MarshalIndent(v, "", "  ")
		s.say("%s", raw)
		return err
	}
	signed, err := c.sign(m, domain, p)
	if err != nil {
		return err
	}
	s.say("%s", signed)
	return nil
}

type messageIssue struct {
	Count int `short:"n" default:"1" help:"How many, 1000 at most." placeholder:"N"`
}

// Run is the command.
func (c *messageIssue) Run(ctx context.Context, s *screen, a *access) error {
	api, err := a.connect(func(p profile) credential { return p.Client })
	if err != nil {
		return err
	}
	ids, err := api.IssueIDs(ctx, c.Count)
	if err != nil {
		return err
	}
	s.answer(ids, func() {
		var rows [][]string
		for _, id := range ids.IDs {
			rows = append(rows, []string{id.ID, moment(id.Expires)})
		}
		s.table([]string{"MESSAGE", "EXPIRES"}, rows, "None was issued.")
		s.note("aval message sign takes them with --output json.")
	})
	return nil
}

type messageSubmit struct {
	File  string `arg:"" help:"The signed message, from aval message sign; - for standard input."`
	Wait  bool   `help:"Follow it to its end; exits with 0 only when that is a good one."`
	Quiet bool   `short:"q" help:"Print the id alone."`
}

// Run is the command.
func (c *messageSubmit) Run(ctx context.Context, s *screen, a *access) error {
	signed, err := readInput(c.File, s.in)
	if err != nil {
		return err
	}
	id, err := idIn(signed)
	if err != nil {
		return misused("submission-malformed", "%s does not hold a signed message: %w", c.File, err)
	}
	api, err := a.asClient()
	if err != nil {
		return err
	}
	return s.submit(ctx, api, id, signed, c.Wait, c.Quiet)
}

// idIn finds the id in a signed message: EIP-712 has it in the message of the typed data, EIP-191 at the top.
func idIn(signed []byte) (string, error) {
	var document struct {
		Payload struct {
			ID      string `json:"id"`
			Message struct {
				ID string `json:"id"`
			} `json:"message"`
		} `json:"payload"`
	}
	if err := json.Unmarshal(signed, &document); err != nil {
		return "", err
	}
	id := document.Payload.Message.ID + document.Payload.ID
	if id == "" {
		return "", errors.New("there is no message id in its payload")
	}
	return id, nil
}

// submit hands over and, if asked for, follows to the end.
func (s *screen) submit(ctx context.Context, api *client.Client, id string, signed []byte, wait, quiet bool) error {
	rec, err := api.Submit(ctx, id, signed)
	if err != nil {
		return err
	}
	if wait {
		return s.follow(ctx, api, rec.ID, quiet)
	}
	if quiet {
		s.say("%s", rec.ID)
		return nil
	}
	s.record(rec)
	if !s.json {
		s.note("\nIt goes on by itself: aval message watch %s", rec.ID)
	}
	return nil
}

type messageSend struct {
	draft
	Wait  bool `help:"Follow it to its end; exits with 0 only when that is a good one."`
	Quiet bool `short:"q" help:"Print the id alone."`
}

// Help is shown by aval message send --help.
func (messageSend) Help() string {
	return `    aval message send transfer.v1 --to 0x… --amount '1.5 ether' --wait
    aval message send transfer.v1 --wallet wal_… --to 0x… --asset erc20:0x… --amount 25000000
    aval message send note.v1 -f text='Reserve reconciled.' -f reference=statement-2026-11
    echo '{"text":"hello"}' | aval message send note.v1 --body -`
}

// Run is the command.
func (c *messageSend) Run(ctx context.Context, s *screen, a *access) error {
	p, err := a.defaults()
	if err != nil {
		return err
	}
	body, err := c.content(s, p)
	if err != nil {
		return err
	}
	if _, err := c.signer(p); err != nil { // before an id is spent
		return err
	}
	api, err := a.connect(func(p profile) credential { return p.Client })
	if err != nil {
		return err
	}
	ids, err := api.IssueIDs(ctx, 1)
	if err != nil {
		return err
	}
	m, domain, err := c.message(ids, body)
	if err != nil {
		return err
	}
	signed, err := c.sign(m, domain, p)
	if err != nil {
		return fmt.Errorf("sign the message: %w", err)
	}
	return s.submit(ctx, api, m.ID, signed, c.Wait, c.Quiet)
}
