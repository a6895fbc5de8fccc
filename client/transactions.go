package client

import (
	"context"
	"encoding/json"
	"net/url"
	"time"
)

// ContractCall is call data, read by the ABI of the contract.
type ContractCall struct {
	Function string          `json:"function"`
	Args     json.RawMessage `json:"args"` // a list
}

// Transaction is a nonce of a lane, which is a key on a chain, with all that was decided and signed for it. Amounts are
// decimal digits of the smallest unit.
type Transaction struct {
	ID       string               `json:"id"`                // key ":" nonce
	Message  string               `json:"message,omitempty"` // absent where a nonce was filled that no message wanted
	State    string               `json:"state"`             // of the message's workflow: the one that signed
	Chain    string               `json:"chain"`
	From     string               `json:"from"`
	To       string               `json:"to"`
	Value    string               `json:"value"`
	Call     *ContractCall        `json:"call,omitempty"` // of one transaction, where an ABI is bound to its contract
	Nonce    uint64               `json:"nonce"`
	Status   string               `json:"status"` // decided, signed, sent, mined, confirmed, lost, unknown
	Sent     *time.Time           `json:"sent,omitempty"`
	Block    uint64               `json:"block,omitempty"`
	Success  *bool                `json:"success,omitempty"` // once mined: whether it did not revert
	Mined    *int                 `json:"mined,omitempty"`   // number of the attempt that the chain holds
	Fee      string               `json:"fee,omitempty"`     // paid in total, as far as known
	Settled  bool                 `json:"settled"`
	Halted   string               `json:"halted,omitempty"` // why its key is set aside
	Attempts []TransactionAttempt `json:"attempts"`
	Events   []TransactionEvent   `json:"events,omitempty"`
	Sentence string               `json:"sentence,omitempty"` // why it is where it is; of Transaction alone, as are the next two
	Remedy   string               `json:"remedy,omitempty"`
	Facts    []string             `json:"facts,omitempty"`
}

// TransactionAttempt is one set of signed bytes with the nonce.
type TransactionAttempt struct {
	Number int        `json:"number"`
	Kind   string     `json:"kind"` // first, raise, no-op
	Hash   string     `json:"hash,omitempty"`
	Gas    uint64     `json:"gas"`
	Fee    string     `json:"fee"` // most to pay for a unit of gas
	Tip    string     `json:"tip,omitempty"`
	By     string     `json:"by,omitempty"`
	Why    string     `json:"why,omitempty"`
	At     *time.Time `json:"at,omitempty"`
}

// TransactionEvent is something that happened to a transaction.
type TransactionEvent struct {
	What string    `json:"what"`
	By   string    `json:"by,omitempty"`
	Why  string    `json:"why,omitempty"`
	At   time.Time `json:"at"`
}

// TransactionQuery chooses transactions: those of a message, the one with a hash, or open ones of a lane or of all.
type TransactionQuery struct {
	Message, Hash, Key string
}

// Transactions lists transactions by lane and nonce, the first hundred of open ones. For operators.
func (c *Client) Transactions(ctx context.Context, q TransactionQuery) ([]Transaction, error) {
	values := url.Values{}
	for name, value := range map[string]string{"message": q.Message, "hash": q.Hash, "key": q.Key} {
		if value != "" {
			values.Set(name, value)
		}
	}
	var out struct{ Transactions []Transaction }
	err := c.get(ctx, "/v1/transactions?"+values.Encode(), &out)
	return out.Transactions, err
}

// Transaction shows one, and says why it is where it is. For operators.
func (c *Client) Transaction(ctx context.Context, id string) (Transaction, error) {
	var out Transaction
	err := c.get(ctx, "/v1/transactions/"+url.PathEscape(id), &out)
	return out, err
}

// Replacement is how to replace a transaction.
type Replacement struct {
	Fee    string `json:"fee,omitempty"` // most to pay for a unit of gas; "" for what the chain asks, within the fee policy
	Tip    string `json:"tip,omitempty"`
	Reason string `json:"reason,omitempty"`
}

// BumpTransaction offers more for the same transaction. For operators.
func (c *Client) BumpTransaction(ctx context.Context, id string, r Replacement) (Transaction, error) {
	return c.onTransaction(ctx, id, "bump", r)
}

// CancelTransaction tries to spend the nonce on nothing instead; the chain decides which of them is mined. For operators.
func (c *Client) CancelTransaction(ctx context.Context, id string, r Replacement) (Transaction, error) {
	return c.onTransaction(ctx, id, "cancel", r)
}

// ResendTransaction gives the node the stored bytes once more. For operators.
func (c *Client) ResendTransaction(ctx context.Context, id string) (Transaction, error) {
	return c.onTransaction(ctx, id, "resend", nil)
}

// Verdict is what an operator has found out about the nonce of an unknown transaction.
type Verdict struct {
	Hash     string `json:"hash,omitempty"`     // of the attempt that has spent it
	Foreign  bool   `json:"foreign,omitempty"`  // or something has that Aval did not decide
	Block    uint64 `json:"block,omitempty"`    // that holds the attempt; goes with its hash
	Reverted bool   `json:"reverted,omitempty"` // it was undone there
	Reason   string `json:"reason"`             // where that was found out
}

// ResolveTransaction says what an unknown transaction's nonce was spent on. For operators.
func (c *Client) ResolveTransaction(ctx context.Context, id string, v Verdict) (Transaction, error) {
	return c.onTransaction(ctx, id, "resolve", v)
}

func (c *Client) onTransaction(ctx context.Context, id, what string, in any) (Transaction, error) {
	var out Transaction
	err := c.post(ctx, "/v1/transactions/"+url.PathEscape(id)+"/"+what, in, &out, false)
	return out, err
}
