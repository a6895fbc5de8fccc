package client

import (
	"encoding/json"
	"time"
)

// Record is a message as Aval holds it.
type Record struct {
	ID       string          `json:"id"`
	Type     string          `json:"type"`
	Client   string          `json:"client"`
	Chain    string          `json:"chain"`
	Signer   string          `json:"signer"`
	Wallet   string          `json:"wallet,omitempty"`
	To       string          `json:"to,omitempty"`
	Asset    string          `json:"asset,omitempty"`
	Amount   string          `json:"amount,omitempty"`
	Workflow string          `json:"workflow,omitempty"` // not in lists
	State    string          `json:"state"`              // of the workflow; "archived" at the end
	Status   Status          `json:"status"`
	Reason   string          `json:"reason,omitempty"` // why it is parked or has failed
	Version  int64           `json:"version"`
	Accepted time.Time       `json:"accepted"`
	Updated  time.Time       `json:"updated"`
	Due      *time.Time      `json:"due,omitempty"` // not in lists
	Archived bool            `json:"archived"`
	Ext      json.RawMessage `json:"ext,omitempty"` // what the actions found out; not in lists
	Links    *Links          `json:"links,omitempty"`
}

// Links are the paths of what belongs to a message.
type Links struct {
	Self     string `json:"self"`
	Original string `json:"original"`
	History  string `json:"history"`
	Why      string `json:"why"`
	Events   string `json:"events"`
}

// Status is the coarse state that all workflows share.
type Status string

// The statuses.
const (
	Running   Status = "running"
	Waiting   Status = "waiting"
	Parked    Status = "parked" // waits for a person
	Succeeded Status = "succeeded"
	Failed    Status = "failed"
)

// Final says whether nothing changes any more.
func (s Status) Final() bool { return s == Succeeded || s == Failed }

// Entry is a step of a message's history.
type Entry struct {
	Version int64           `json:"version"`
	State   string          `json:"state"`
	Event   string          `json:"event"`
	Action  string          `json:"action,omitempty"`
	By      string          `json:"by"`
	At      time.Time       `json:"at"`
	Took    time.Duration   `json:"took_ns,omitempty"`
	Note    string          `json:"note,omitempty"`
	Output  json.RawMessage `json:"output,omitempty"`
}

// Step is an entry as it happened, and where the message stood when Aval told of it.
type Step struct {
	ID     string `json:"id"`
	State  string `json:"state"`
	Status Status `json:"status"`
	Reason string `json:"reason,omitempty"`
	Entry  Entry  `json:"entry"`
}

// IDs are message ids to sign messages with.
type IDs struct {
	Client  string        `json:"client"`
	IDs     []ID          `json:"ids"`
	Domains []ChainDomain `json:"domains"`
}

// ID is a message id, good until it expires.
type ID struct {
	ID      string    `json:"id"`
	Expires time.Time `json:"expires"`
}

// Domain is the EIP-712 domain of an installation for a chain.
type Domain struct {
	Name              string `json:"name"`
	Version           string `json:"version"`
	ChainID           uint64 `json:"chainId"`
	VerifyingContract string `json:"verifyingContract"`
}

// ChainDomain is the domain for a chain.
type ChainDomain struct {
	Chain  string `json:"chain"`
	Domain Domain `json:"domain"`
}

// Page is a part of a list of messages.
type Page struct {
	Messages []Record `json:"messages"`
	Next     string   `json:"next,omitempty"` // Query.Cursor for the next page; empty on the last
}

// Count is a number of messages in one state.
type Count struct {
	Type   string `json:"type"`
	State  string `json:"state"`
	Status Status `json:"status"`
	Number int64  `json:"number"`
}
