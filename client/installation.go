package client

import (
	"context"
	"encoding/json"
	"net/url"
	"time"
)

// Key is a signing key, as its registry knows it.
type Key struct {
	ID       string     `json:"id"`
	Chain    string     `json:"chain"`
	Address  string     `json:"address"`
	Pool     string     `json:"pool,omitempty"`
	Status   string     `json:"status"` // free, leased or quarantined
	Holder   string     `json:"holder,omitempty"`
	Fence    uint64     `json:"fence"`
	Nonce    uint64     `json:"nonce"`
	LastUsed *time.Time `json:"last_used,omitempty"`
	Reason   string     `json:"reason,omitempty"`
}

// Keys lists the signing keys. For operators.
func (c *Client) Keys(ctx context.Context) ([]Key, error) {
	var out struct{ Keys []Key }
	err := c.get(ctx, "/v1/keys", &out)
	return out.Keys, err
}

// Reconcile ends a key's quarantine if the chain agrees. For operators.
func (c *Client) Reconcile(ctx context.Context, id string) (Key, error) {
	var out Key
	err := c.post(ctx, "/v1/keys/"+url.PathEscape(id)+"/reconcile", nil, &out, false)
	return out, err
}

// Acknowledge lets a key be used again that somebody else has used: so many of its nonces the chain has spent, and why that is
// all right. Both are kept under the operator's name. For operators.
func (c *Client) Acknowledge(ctx context.Context, id string, spent uint64, reason string) (Key, error) {
	var out Key
	in := map[string]any{"spent": spent, "reason": reason}
	err := c.post(ctx, "/v1/keys/"+url.PathEscape(id)+"/acknowledge", in, &out, false)
	return out, err
}

// KeyEntry is something that was done about the trust in a key.
type KeyEntry struct {
	What  string    `json:"what"` // distrusted or acknowledged
	By    string    `json:"by"`
	Why   string    `json:"why"`
	Spent uint64    `json:"spent"` // how many nonces the chain had spent
	At    time.Time `json:"at"`
}

// KeyEntries lists what was done about the trust in a key. For operators.
func (c *Client) KeyEntries(ctx context.Context, id string) ([]KeyEntry, error) {
	var out struct{ Entries []KeyEntry }
	err := c.get(ctx, "/v1/keys/"+url.PathEscape(id)+"/entries", &out)
	return out.Entries, err
}

// Chain is a chain that the installation serves.
type Chain struct {
	ID            string `json:"id"`
	Name          string `json:"name"`
	RPC           string `json:"rpc,omitempty"` // of a development chain
	Confirmations uint64 `json:"confirmations"`
	Domain        Domain `json:"domain"`
}

// Chains lists the chains.
func (c *Client) Chains(ctx context.Context) ([]Chain, error) {
	var out struct{ Chains []Chain }
	err := c.get(ctx, "/v1/chains", &out)
	return out.Chains, err
}

// TypeNames lists the message types of the installation.
func (c *Client) TypeNames(ctx context.Context) ([]string, error) {
	var out struct{ Types []string }
	err := c.get(ctx, "/v1/types", &out)
	return out.Types, err
}

// VerifyReference compares the read model with the system of record and gives the report as JSON. For operators.
func (c *Client) VerifyReference(ctx context.Context) (json.RawMessage, error) {
	return c.mend(ctx, "verify")
}

// RebuildReference mends the read model and gives the report as JSON. For operators.
func (c *Client) RebuildReference(ctx context.Context) (json.RawMessage, error) {
	return c.mend(ctx, "rebuild")
}

func (c *Client) mend(ctx context.Context, what string) (json.RawMessage, error) {
	var report json.RawMessage
	err := c.post(ctx, "/v1/reference/"+what, nil, &report, true)
	return report, err
}
