package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
)

// Wallet is an address that Aval holds the key of.
type Wallet struct {
	ID      string    `json:"id"`
	Owner   string    `json:"owner"`
	Name    string    `json:"name"`
	Chain   string    `json:"chain"`
	Address string    `json:"address"`
	Key     string    `json:"key"`
	Created time.Time `json:"created"`
}

// NewWallet says what wallet to create.
type NewWallet struct {
	Name  string `json:"name"`
	Chain string `json:"chain,omitempty"` // may be empty where there is one chain
	Owner string `json:"owner,omitempty"` // operators name the client that it is for
}

// CreateWallet creates a wallet, or gives the owner's wallet of that name.
func (c *Client) CreateWallet(ctx context.Context, w NewWallet) (Wallet, error) {
	var out Wallet
	err := c.post(ctx, "/v1/wallets", w, &out, true)
	return out, err
}

// Wallet reads a wallet.
func (c *Client) Wallet(ctx context.Context, id string) (Wallet, error) {
	var out Wallet
	err := c.get(ctx, "/v1/wallets/"+url.PathEscape(id), &out)
	return out, err
}

// Wallets gives all wallets that the caller sees, oldest first.
func (c *Client) Wallets(ctx context.Context) ([]Wallet, error) {
	var all []Wallet
	cursor := ""
	for {
		var page struct {
			Wallets []Wallet
			Next    string
		}
		if err := c.get(ctx, "/v1/wallets?limit=500&cursor="+url.QueryEscape(cursor), &page); err != nil {
			return nil, err
		}
		all = append(all, page.Wallets...)
		if cursor = page.Next; cursor == "" {
			return all, nil
		}
	}
}

// Balance asks the chain what a wallet holds of an asset ("native", "erc20:0x…"), in the asset's smallest unit.
func (c *Client) Balance(ctx context.Context, wallet, asset string) (string, error) {
	var out struct{ Amount string }
	err := c.get(ctx, "/v1/wallets/"+url.PathEscape(wallet)+"/balance?asset="+url.QueryEscape(asset), &out)
	return out.Amount, err
}

// Party is a client in the register: who may instruct Aval, and which addresses sign for it.
type Party struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Signers  []string  `json:"signers"`
	Disabled bool      `json:"disabled"`
	Created  time.Time `json:"created"`
	Secret   string    `json:"secret,omitempty"` // told once, by CreateClient
}

// CreateClient registers a client. For operators.
func (c *Client) CreateClient(ctx context.Context, name string, signers ...string) (Party, error) {
	var out Party
	err := c.post(ctx, "/v1/clients", map[string]any{"name": name, "signers": append([]string{}, signers...)}, &out, false)
	return out, err
}

// Clients lists the register. For operators.
func (c *Client) Clients(ctx context.Context) ([]Party, error) {
	var out struct{ Clients []Party }
	err := c.get(ctx, "/v1/clients", &out)
	return out.Clients, err
}

// ReadClient reads one client of the register; a client may read itself.
func (c *Client) ReadClient(ctx context.Context, id string) (Party, error) {
	var out Party
	err := c.get(ctx, party(id), &out)
	return out, err
}

// SetSigners replaces the addresses that sign for a client. For operators.
func (c *Client) SetSigners(ctx context.Context, id string, signers ...string) (Party, error) {
	var out Party
	body, err := json.Marshal(map[string]any{"signers": append([]string{}, signers...)})
	if err == nil {
		err = c.do(ctx, call{method: http.MethodPut, path: party(id) + "/signers", body: body, repeatable: true}, &out)
	}
	return out, err
}

// Disable shuts a client out at once; Enable lets it in again. For operators.
func (c *Client) Disable(ctx context.Context, id string) (Party, error) {
	var out Party
	err := c.post(ctx, party(id)+"/disable", nil, &out, true)
	return out, err
}

// Enable lets a client in again. For operators.
func (c *Client) Enable(ctx context.Context, id string) (Party, error) {
	var out Party
	err := c.post(ctx, party(id)+"/enable", nil, &out, true)
	return out, err
}

func party(id string) string { return "/v1/clients/" + url.PathEscape(id) }
