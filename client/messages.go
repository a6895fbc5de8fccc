package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// IssueIDs gets ids for n messages, 1 to 1000, and the domains to sign them under.
func (c *Client) IssueIDs(ctx context.Context, n int) (IDs, error) {
	var ids IDs
	err := c.post(ctx, "/v1/message-ids", map[string]int{"count": n}, &ids, true) // ids that nobody got expire
	return ids, err
}

// Submit hands a signed message over. The same bytes again get the same record.
func (c *Client) Submit(ctx context.Context, id string, signed []byte) (Record, error) {
	var rec Record
	err := c.do(ctx, call{method: http.MethodPut, path: path(id), body: signed, repeatable: true}, &rec)
	return rec, err
}

// Send issues an id, signs a message of the type for the chain as EIP-712 typed data, and submits it.
func (c *Client) Send(ctx context.Context, sign Signer, messageType, chain string, body any) (Record, error) {
	ids, err := c.IssueIDs(ctx, 1)
	if err != nil {
		return Record{}, err
	}
	m := Message{ID: ids.IDs[0].ID, Type: messageType, Client: ids.Client, Chain: chain, Expires: ids.IDs[0].Expires, Body: body}
	signed, err := c.Sign(m, ids, sign)
	if err != nil {
		return Record{}, err
	}
	return c.Submit(ctx, m.ID, signed)
}

// Sign signs a message as EIP-712 typed data, under the domain that came with the ids.
func (c *Client) Sign(m Message, ids IDs, sign Signer) ([]byte, error) {
	types, err := c.types()
	if err != nil {
		return nil, err
	}
	for _, d := range ids.Domains {
		if d.Chain == m.Chain {
			return types.Sign(m, EIP712, d.Domain, sign)
		}
	}
	return nil, fmt.Errorf("the installation does not serve the chain %s", m.Chain)
}

// Get reads a message.
func (c *Client) Get(ctx context.Context, id string) (Record, error) {
	var rec Record
	err := c.get(ctx, path(id), &rec)
	return rec, err
}

// Original reads the bytes that were submitted.
func (c *Client) Original(ctx context.Context, id string) ([]byte, error) {
	var raw []byte
	err := c.get(ctx, path(id)+"/original", &raw)
	return raw, err
}

// History reads all steps of a message, oldest first.
func (c *Client) History(ctx context.Context, id string) ([]Entry, error) {
	var out struct{ Entries []Entry }
	err := c.get(ctx, path(id)+"/history", &out)
	return out.Entries, err
}

// Why tells, as JSON, why a message stands where it does and what it waits for.
func (c *Client) Why(ctx context.Context, id string) (json.RawMessage, error) {
	var why json.RawMessage
	err := c.get(ctx, path(id)+"/why", &why)
	return why, err
}

// Query selects messages; zero fields do not restrict.
type Query struct {
	Client   string // operators only
	Type     string
	State    string
	Status   Status
	Wallet   string
	From, To time.Time // accepted in [From, To)
	Cursor   string    // Page.Next
	Limit    int       // 1 to 500; 0 means 50
}

// List gives a page of messages, newest first.
func (c *Client) List(ctx context.Context, q Query) (Page, error) {
	v := url.Values{}
	for name, value := range map[string]string{
		"client": q.Client, "type": q.Type, "state": q.State, "status": string(q.Status), "wallet": q.Wallet,
		"from": moment(q.From), "to": moment(q.To), "cursor": q.Cursor, "limit": number(q.Limit),
	} {
		if value != "" {
			v.Set(name, value)
		}
	}
	var page Page
	err := c.get(ctx, "/v1/messages?"+v.Encode(), &page)
	return page, err
}

// Counts gives the number of messages in each state.
func (c *Client) Counts(ctx context.Context) ([]Count, error) {
	var out struct{ Counts []Count }
	err := c.get(ctx, "/v1/counts", &out)
	return out.Counts, err
}

// Park sets a message aside until Resume or Replay. For operators.
func (c *Client) Park(ctx context.Context, id, reason string) (Record, error) {
	var rec Record
	err := c.post(ctx, path(id)+"/park", map[string]string{"reason": reason}, &rec, false)
	return rec, err
}

// Resume lets a parked message go on. For operators.
func (c *Client) Resume(ctx context.Context, id string) (Record, error) {
	var rec Record
	err := c.post(ctx, path(id)+"/resume", nil, &rec, false)
	return rec, err
}

// Replay lets a parked message begin its workflow again. For operators.
func (c *Client) Replay(ctx context.Context, id string) (Record, error) {
	var rec Record
	err := c.post(ctx, path(id)+"/replay", nil, &rec, false)
	return rec, err
}

func path(id string) string { return "/v1/messages/" + url.PathEscape(id) }

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}
