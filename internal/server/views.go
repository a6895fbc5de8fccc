package server

import (
	"encoding/json"
	"time"

	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
)

// Message is a message as clients see it. Lists leave out what only Guarantee holds: workflow, due and ext.
type Message struct {
	ID       message.ID       `json:"id" example:"msg_01k9x0v7k2f6wr9h0c8m1n2p3q"`
	Type     string           `json:"type" example:"transfer.v1"`
	Client   string           `json:"client"`
	Chain    string           `json:"chain" doc:"CAIP-2 id of the chain that it is meant for." example:"eip155:1337"`
	Signer   string           `json:"signer" doc:"The address that signed it."`
	Wallet   string           `json:"wallet,omitempty" doc:"The custody wallet that it is about."`
	To       string           `json:"to,omitempty"`
	Asset    string           `json:"asset,omitempty"`
	Amount   string           `json:"amount,omitempty" doc:"In the asset's smallest unit."`
	Workflow string           `json:"workflow,omitempty" doc:"The definition that it is pinned to: name@hash."`
	State    string           `json:"state" doc:"Where it stands in its workflow; archived once it has left Guarantee's live set."`
	Status   guarantee.Status `json:"status" enum:"running,waiting,parked,succeeded,failed"`
	Reason   string           `json:"reason,omitempty" doc:"Why it is parked or has failed."`
	Version  int64            `json:"version" doc:"Number of entries in its history."`
	Accepted time.Time        `json:"accepted"`
	Updated  time.Time        `json:"updated"`
	Due      *time.Time       `json:"due,omitempty" doc:"When it is looked at next."`
	Archived bool             `json:"archived"`
	Ext      json.RawMessage  `json:"ext,omitempty" doc:"What the actions so far have found out: transaction hashes, block numbers, the rule that allowed it."`
	Links    *Links           `json:"links,omitempty"`
}

// Links are the addresses of what belongs to a message.
type Links struct {
	Self     string `json:"self"`
	Original string `json:"original"`
	History  string `json:"history"`
	Why      string `json:"why"`
	Events   string `json:"events"`
}

// Archived is the state that a message shows once it is archived.
const Archived = "archived"

func viewOf(rec guarantee.Record, a guarantee.Attributes) *Message {
	m := &Message{
		ID: rec.ID, Type: rec.Type, Client: rec.Client, Chain: rec.Chain, Signer: a.Signer,
		Wallet: a.Wallet, To: a.To, Asset: a.Asset, Amount: a.Amount,
		Workflow: rec.Workflow, State: rec.State, Status: rec.Status, Reason: rec.Reason, Version: rec.Version,
		Accepted: rec.Accepted.UTC(), Updated: rec.Updated.UTC(), Archived: rec.Archived, Ext: rec.Ext,
	}
	if !rec.Due.IsZero() {
		due := rec.Due.UTC()
		m.Due = &due
	}
	return m.finished()
}

func viewOfSnapshot(row guarantee.Snapshot) *Message {
	a := row.Attributes
	m := &Message{
		ID: row.ID, Type: a.Type, Client: a.Client, Chain: a.Chain, Signer: a.Signer,
		Wallet: a.Wallet, To: a.To, Asset: a.Asset, Amount: a.Amount,
		State: row.State, Status: row.Status, Reason: row.Reason, Version: row.Version,
		Accepted: row.Accepted.UTC(), Updated: row.Updated.UTC(), Archived: row.Archived,
	}
	return m.finished()
}

func (m *Message) finished() *Message {
	if m.Archived {
		m.State = Archived
	}
	self := "/v1/messages/" + string(m.ID)
	m.Links = &Links{Self: self, Original: self + "/original", History: self + "/history", Why: self + "/why", Events: self + "/events"}
	return m
}

// view is a record as clients see it.
func (s *Server) view(rec guarantee.Record) *Message {
	var a guarantee.Attributes
	_ = json.Unmarshal(rec.Body, &a) // accepted with these attributes; a type without them leaves them empty
	a.Signer = rec.Signer.Hex()
	return viewOf(rec, a)
}
