package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/schemas"
)

type messageCommands struct {
	Send     messageSend     `cmd:"" help:"Issue an id, sign and submit, in one go."`
	Issue    messageIssue    `cmd:"" help:"Get message ids to sign with."`
	Sign     messageSign     `cmd:"" help:"Sign a message, without a connection."`
	Submit   messageSubmit   `cmd:"" help:"Hand a signed message over."`
	Get      messageGet      `cmd:"" help:"Show a message."`
	Watch    messageWatch    `cmd:"" help:"Follow a message, or all of them, live."`
	List     messageList     `cmd:"" help:"List messages, newest first."`
	History  messageHistory  `cmd:"" help:"Show each step that a message took."`
	Why      messageWhy      `cmd:"" help:"Say why a message is pending, and what to do."`
	Original messageOriginal `cmd:"" help:"Print the bytes that were submitted."`
	Park     messagePark     `cmd:"" help:"Set a message aside (operator)."`
	Resume   messageResume   `cmd:"" help:"Let a parked message go on, or all that somebody has parked (operator)."`
	Replay   messageReplay   `cmd:"" help:"Let a parked message begin its workflow again (operator)."`
	Types    messageTypes    `cmd:"" help:"List the message types, or show one."`
}

// Help is shown by aval message --help.
func (messageCommands) Help() string {
	return `A message is a signed instruction. Its id comes from Aval and is part of what is signed:

    aval message issue --output json > ids.json
    aval message sign transfer.v1 --ids ids.json --key signer.json --wallet wal_… --to 0x… --amount '1.5 ether' > signed.json
    aval message submit signed.json
    aval message watch msg_…

or all of it at once, with the signer key of the profile that aval dev has left:

    aval message send transfer.v1 --to 0x… --amount '1.5 ether' --wait`
}

// byID names one message.
type byID struct {
	ID string `arg:"" name:"message" help:"The message's id."`
}

type messageGet struct{ byID }

// Run is the command.
func (c *messageGet) Run(ctx context.Context, s *screen, a *access) error {
	api, err := a.asClient()
	if err != nil {
		return err
	}
	rec, err := api.Get(ctx, c.ID)
	if err != nil {
		return err
	}
	s.record(rec)
	return nil
}

// record prints a message.
func (s *screen) record(rec client.Record) {
	s.answer(rec, func() {
		due := ""
		if rec.Due != nil {
			due = moment(*rec.Due)
		}
		s.facts([2]string{"message", rec.ID}, [2]string{"type", rec.Type}, [2]string{"state", rec.State}, [2]string{"status", s.status(rec.Status)},
			[2]string{"reason", rec.Reason}, [2]string{"client", rec.Client}, [2]string{"signer", rec.Signer}, [2]string{"chain", rec.Chain},
			[2]string{"wallet", rec.Wallet}, [2]string{"to", rec.To}, [2]string{"amount", amountOf(rec)}, [2]string{"workflow", rec.Workflow},
			[2]string{"accepted", moment(rec.Accepted)}, [2]string{"updated", moment(rec.Updated)}, [2]string{"due", due}, [2]string{"ext", string(rec.Ext)})
	})
}

// amountOf is what a message moves, for people.
func amountOf(rec client.Record) string {
	switch {
	case rec.Amount == "" || rec.Asset == "":
		return rec.Amount
	case rec.Asset == "native":
		return showAmount(rec.Amount, rec.Asset)
	}
	return rec.Amount + " of " + rec.Asset
}

type messageList struct {
	Client string        `help:"Of this client; for operators." placeholder:"CLIENT"`
	Type   string        `help:"Of this type." placeholder:"TYPE"`
	State  string        `help:"In this state of their workflow." placeholder:"STATE"`
	Status string        `enum:"running,waiting,parked,succeeded,failed," default:"" help:"With this status: running, waiting, parked, succeeded or failed." placeholder:"STATUS"`
	Wallet string        `help:"About this wallet." placeholder:"WALLET"`
	Since  time.Duration `help:"Accepted in this last stretch of time, such as 24h." placeholder:"TIME"`
	From   time.Time     `help:"Accepted at this time or later, such as 2026-01-31T00:00:00Z." placeholder:"TIME"`
	Until  time.Time     `help:"Accepted before this time." placeholder:"TIME"`
	Limit  int           `default:"50" help:"How many, 500 at most." placeholder:"N"`
	Cursor string        `help:"Go on after a page: its cursor." placeholder:"CURSOR"`
}

// Run is the command.
func (c *messageList) Run(ctx context.Context, s *screen, a *access) error {
	api, err := a.asClient()
	if err != nil {
		return err
	}
	if c.Since > 0 {
		c.From = time.Now().Add(-c.Since)
	}
	page, err := api.List(ctx, client.Query{
		Client: c.Client, Type: c.Type, State: c.State, Status: client.Status(c.Status), Wallet: c.Wallet,
		From: c.From, To: c.Until, Cursor: c.Cursor, Limit: c.Limit,
	})
	if err != nil {
		return err
	}
	s.answer(page, func() {
		var rows [][]string
		for _, m := range page.Messages {
			rows = append(rows, []string{m.ID, m.Type, m.State, string(m.Status), moment(m.Accepted), amountOf(m), m.To})
		}
		s.table([]string{"MESSAGE", "TYPE", "STATE", "STATUS", "ACCEPTED", "AMOUNT", "TO"}, rows, "There is no such message.")
		if page.Next != "" {
			s.say("There are more: --cursor %s", page.Next)
		}
	})
	return nil
}

type messageHistory struct{ byID }

// Run is the command.
func (c *messageHistory) Run(ctx context.Context, s *screen, a *access) error {
	api, err := a.asClient()
	if err != nil {
		return err
	}
	entries, err := api.History(ctx, c.ID)
	if err != nil {
		return err
	}
	s.answer(map[string]any{"entries": entries}, func() {
		var rows [][]string
		for _, e := range entries {
			rows = append(rows, []string{fmt.Sprint(e.Version), moment(e.At), e.State, e.Event, e.Action, span(e.Took), e.By, e.Note})
		}
		s.table([]string{"STEP", "AT", "STATE", "EVENT", "ACTION", "TOOK", "BY", "NOTE"}, rows, "The message has no history yet.")
	})
	return nil
}

type messageWhy struct{ byID }

// Run is the command.
func (c *messageWhy) Run(ctx context.Context, s *screen, a *access) error {
	api, err := a.asClient()
	if err != nil {
		return err
	}
	raw, err := api.Why(ctx, c.ID)
	if err != nil {
		return err
	}
	var why guarantee.Why
	if err := json.Unmarshal(raw, &why); err != nil {
		return fmt.Errorf("the answer is not what this version of aval knows: %w", err)
	}
	s.answer(raw, func() { s.why(why) })
	return nil
}

// why answers in one screen.
func (s *screen) why(w guarantee.Why) {
	s.say("%s", w.Sentence)
	for _, fact := range w.Facts {
		s.say("%s", fact)
	}
	if w.Remedy != "" {
		s.say("\n%s", s.paint(yellow, w.Remedy))
	}
	next, retries := "", ""
	if w.Next != nil {
		next = moment(*w.Next)
	}
	if w.Retries > 0 {
		retries = fmt.Sprint(w.Retries)
	}
	last := fmt.Sprintf("%s %s, by %s at %s", w.Last.State, w.Last.Event, w.Last.By, moment(w.Last.At))
	if w.Last.Note != "" {
		last += ": " + w.Last.Note
	}
	s.say("")
	s.facts([2]string{"message", string(w.ID)}, [2]string{"state", w.State}, [2]string{"status", s.status(client.Status(w.Status))},
		[2]string{"since", moment(w.Since)}, [2]string{"next look", next}, [2]string{"retries", retries}, [2]string{"last step", last})
}

type messageOriginal struct{ byID }

// Run is the command.
func (c *messageOriginal) Run(ctx context.Context, s *screen, a *access) error {
	api, err := a.asClient()
	if err != nil {
		return err
	}
	raw, err := api.Original(ctx, c.ID)
	if err != nil {
		return err
	}
	_, err = s.out.Write(raw) // byte for byte: nothing is added
	return err
}

type messagePark struct {
	byID
	Reason string `required:"" help:"Why: a sentence for whoever finds it parked." placeholder:"SENTENCE"`
}

// Run is the command.
func (c *messagePark) Run(ctx context.Context, s *screen, a *access) error {
	return s.operate(a, func(api *client.Client) (client.Record, error) { return api.Park(ctx, c.ID, c.Reason) })
}

type messageReplay struct{ byID }

// Run is the command.
func (c *messageReplay) Run(ctx context.Context, s *screen, a *access) error {
	return s.operate(a, func(api *client.Client) (client.Record, error) { return api.Replay(ctx, c.ID) })
}

// operate does what operators alone may do, and shows the message as it is then.
func (s *screen) operate(a *access, do func(*client.Client) (client.Record, error)) error {
	api, err := a.asOperator()
	if err != nil {
		return err
	}
	rec, err := do(api)
	if err == nil {
		s.record(rec)
	}
	return err
}

type messageTypes struct {
	Type string `arg:"" optional:"" help:"Show the fields of this one."`
}

// Run is the command. It needs no connection: the types are those that this program ships with.
func (c *messageTypes) Run(s *screen) error {
	catalog, err := message.NewCatalog(schemas.FS())
	if err != nil {
		return err
	}
	if c.Type != "" {
		raw, err := catalog.Schema(c.Type)
		if err != nil {
			return err
		}
		return s.messageType(raw)
	}
	var rows [][]string
	for _, name := range catalog.Types() {
		raw, err := catalog.Schema(name)
		if err != nil {
			return err
		}
		var schema typeSchema
		if err := json.Unmarshal(raw, &schema); err != nil {
			return err
		}
		rows = append(rows, []string{name, schema.Description})
	}
	s.answer(map[string]any{"types": catalog.Types()}, func() { s.table([]string{"TYPE", "WHAT IT DOES"}, rows, "There is none.") })
	return nil
}

// typeSchema is what is shown of a JSON Schema.
type typeSchema struct {
	Description string   `json:"description"`
	Required    []string `json:"required"`
	EIP712      struct {
		Fields []message.Field `json:"fields"`
	} `json:"x-eip712"`
	Properties map[string]struct {
		Description string `json:"description"`
	} `json:"properties"`
}

func (s *screen) messageType(raw json.RawMessage) error {
	var schema typeSchema
	if err := json.Unmarshal(raw, &schema); err != nil {
		return err
	}
	s.answer(raw, func() {
		s.say("%s\n", schema.Description)
		var rows [][]string
		for _, f := range schema.EIP712.Fields {
			need := "optional"
			if slices.Contains(schema.Required, f.Name) {
				need = "required"
			}
			rows = append(rows, []string{f.Name, f.Type, need, schema.Properties[f.Name].Description})
		}
		s.table([]string{"FIELD", "TYPE", "", "WHAT IT IS"}, rows, "It has no fields.")
	})
	return nil
}
