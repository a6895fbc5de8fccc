package server

import (
	"context"
	"encoding/json"
	"math/big"
	"net/http"
	"time"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/transaction"
)

func (s *Server) transactionRoutes() {
	route(s, operation("list-transactions", http.MethodGet, "/v1/transactions", "transactions", "List the open transactions by lane, or those of a message or a hash", byOperator), s.listTransactions)
	route(s, operation("get-transaction", http.MethodGet, "/v1/transactions/{id}", "transactions", "Show a transaction, and why it is where it is", byOperator), s.showTransaction)
	bump := acting("bump-transaction", "/v1/transactions/{id}/bump", "transactions", "Offer more for a transaction, now", byOperator)
	bump.Description = "One more attempt with the same to, value and data. Without a fee it offers what the chain asks at present, within the fee policy of the message's type; a fee that is given knows no policy."
	route(s, bump, s.bump)
	cancel := acting("cancel-transaction", "/v1/transactions/{id}/cancel", "transactions", "Spend a transaction's nonce on nothing, now", byOperator)
	cancel.Description = "One more attempt that sends nothing to the own address. Whichever attempt the chain mines decides what became of the transaction: a cancellation can come too late."
	route(s, cancel, s.cancel)
	route(s, acting("resend-transaction", "/v1/transactions/{id}/resend", "transactions", "Give the node the stored bytes once more", byOperator), s.resend)
	resolve := acting("resolve-transaction", "/v1/transactions/{id}/resolve", "transactions", "Say what an unknown transaction's nonce was spent on", byOperator)
	resolve.Description = "For a transaction whose nonce the chain has spent, and no node keeps what on. The operator has found that out elsewhere; what the nodes still tell is held against it (409). Nothing is signed or sent; the message goes on when it is resumed."
	route(s, resolve, s.resolve)
}

// Transaction is a nonce of a lane, with all that was decided and signed for it.
type Transaction struct {
	ID       string             `json:"id" doc:"Its key and nonce."`
	Message  message.ID         `json:"message,omitempty" doc:"Absent where a nonce was filled that no message wanted."`
	State    string             `json:"state" doc:"Of the message's workflow: the one that signed."`
	Chain    string             `json:"chain"`
	From     string             `json:"from"`
	To       string             `json:"to"`
	Value    string             `json:"value" doc:"Smallest unit."`
	Call     *ContractCall      `json:"call,omitempty" doc:"What it calls, where an ABI is bound to its contract (chain.abis). Of one transaction; lists do not have it."`
	Nonce    uint64             `json:"nonce"`
	Status   transaction.Status `json:"status" enum:"decided,signed,sent,mined,confirmed,lost,unknown"`
	Sent     *time.Time         `json:"sent,omitempty" doc:"When it was first known to be with a node."`
	Block    uint64             `json:"block,omitempty"`
	Success  *bool              `json:"success,omitempty" doc:"Whether it did not revert; once it is mined."`
	Mined    *int               `json:"mined,omitempty" doc:"Number of the attempt that the chain holds."`
	Fee      string             `json:"fee,omitempty" doc:"Paid in total, smallest unit."`
	Settled  bool               `json:"settled" doc:"Final: it is not looked at any more."`
	Halted   string             `json:"halted,omitempty" doc:"Why its key is set aside."`
	Attempts []Attempt          `json:"attempts" nullable:"false"`
	Events   []TransactionEvent `json:"events,omitempty"`
	Sentence string             `json:"sentence,omitempty" doc:"Why it is where it is."`
	Remedy   string             `json:"remedy,omitempty" doc:"What a person can do, when there is something to do."`
	Facts    []string           `json:"facts,omitempty" doc:"What the chain says, asked just now."`
}

// ContractCall is call data, read.
type ContractCall struct {
	Function string          `json:"function"`
	Args     json.RawMessage `json:"args" doc:"A list: numbers are strings of digits, bytes are hex."`
}

// Attempt is one set of signed bytes with the nonce.
type Attempt struct {
	Number int              `json:"number"`
	Kind   transaction.Kind `json:"kind" enum:"first,raise,no-op"`
	Hash   string           `json:"hash,omitempty" doc:"Absent until it is signed."`
	Gas    uint64           `json:"gas"`
	Fee    string           `json:"fee" doc:"Most to pay for a unit of gas."`
	Tip    string           `json:"tip,omitempty"`
	By     string           `json:"by,omitempty" doc:"Who decided it; absent for the workflow."`
	Why    string           `json:"why,omitempty"`
	At     *time.Time       `json:"at,omitempty"`
}

// TransactionEvent is something that happened to a transaction.
type TransactionEvent struct {
	What string    `json:"what"`
	By   string    `json:"by,omitempty"`
	Why  string    `json:"why,omitempty"`
	At   time.Time `json:"at"`
}

// TransactionList is transactions in the order of their lanes and nonces.
type TransactionList struct {
	Transactions []Transaction `json:"transactions" nullable:"false"`
}

func viewOfTransaction(r transaction.Report) Transaction {
	t, first := r.Transaction, r.Transaction.Attempts[0].Tx
	v := Transaction{
		ID: transaction.ID{Key: t.Key, Nonce: t.Nonce}.String(), Message: t.Step.Message, State: t.Step.State,
		Chain: first.Chain, From: first.From, To: first.To, Value: digits(first.Value), Nonce: t.Nonce, Status: t.Status(),
		Sent: instant(t.Fate.Sent), Settled: t.Nonce < r.Lane.Settled, Halted: r.Lane.Halted, Sentence: r.Sentence, Remedy: r.Remedy, Facts: r.Facts,
	}
	if t.Fate.Spent() {
		v.Block, v.Success, v.Mined = t.Fate.Block, &t.Fate.Success, &t.Fate.Attempt
	}
	if t.Fate.Fee != nil {
		v.Fee = t.Fate.Fee.String()
	}
	for _, a := range t.Attempts {
		v.Attempts = append(v.Attempts, viewOfAttempt(a))
	}
	if transaction.Filled(t.Step) {
		v.Attempts[0].Kind, v.Attempts[0].By = transaction.NoOp, transaction.ByKeeper
	}
	if r.Call != nil {
		v.Call = &ContractCall{Function: r.Call.Function, Args: r.Call.Args}
	}
	for _, e := range r.Events {
		v.Events = append(v.Events, TransactionEvent{What: e.What, By: e.By, Why: e.Why, At: e.At.UTC()})
	}
	return v
}

func viewOfAttempt(a transaction.Attempt) Attempt {
	v := Attempt{Number: a.Number, Kind: a.Kind, Hash: a.Signed.Hash, Gas: a.Tx.Gas, Fee: digits(a.Tx.Fee), By: a.By, Why: a.Why, At: instant(a.At)}
	if a.Tx.Tip != nil {
		v.Tip = digits(a.Tx.Tip)
	}
	return v
}

func digits(n *big.Int) string {
	if n == nil {
		return "0"
	}
	return n.String()
}

func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

type transactionQuery struct {
	Message string `query:"message" maxLength:"64" doc:"Those of a message."`
	Hash    string `query:"hash" maxLength:"128" doc:"The one with an attempt of this hash."`
	Key     string `query:"key" maxLength:"64" doc:"Open ones of one lane."`
	Limit   int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"Of open ones."`
}

func (s *Server) listTransactions(ctx context.Context, in *transactionQuery) (*body[TransactionList], error) {
	all, err := s.Transactions.List(ctx, transaction.Query{Message: message.ID(in.Message), Hash: in.Hash, Key: in.Key, Limit: in.Limit})
	if err != nil {
		return nil, err
	}
	out := TransactionList{Transactions: make([]Transaction, len(all))}
	for i, r := range all {
		out.Transactions[i] = viewOfTransaction(r)
	}
	return &body[TransactionList]{Body: out}, nil
}

func (s *Server) showTransaction(ctx context.Context, in *byID) (*body[Transaction], error) {
	return s.onTransaction(in.ID, func(id transaction.ID) (transaction.Report, error) { return s.Transactions.Show(ctx, id) })
}

type replaceInput struct {
	ID   string `path:"id" maxLength:"96"`
	Body struct {
		Fee    string `json:"fee,omitempty" maxLength:"78" pattern:"^[0-9]*$" doc:"Most to pay for a unit of gas, smallest unit; without it what the chain asks."`
		Tip    string `json:"tip,omitempty" maxLength:"78" pattern:"^[0-9]*$" doc:"Of that, for the block's builder; without it the whole fee."`
		Reason string `json:"reason,omitempty" maxLength:"500" doc:"A sentence for whoever looks at the attempt."`
	}
}

// price is the operator's own, nil when none was given.
func (in *replaceInput) price() (*chain.Price, error) {
	if in.Body.Fee == "" {
		if in.Body.Tip != "" {
			return nil, problem.New(problem.Invalid, "fee-missing", "a tip is part of a fee; give the fee as well")
		}
		return nil, nil //nolint:nilnil // no price is an answer
	}
	fee, _ := new(big.Int).SetString(in.Body.Fee, 10)
	price := chain.Price{Fee: fee, Tip: fee}
	if in.Body.Tip != "" {
		price.Tip, _ = new(big.Int).SetString(in.Body.Tip, 10)
	}
	if price.Tip.Cmp(price.Fee) > 0 {
		return nil, problem.New(problem.Invalid, "fee-below-tip", "the tip is part of the fee and cannot be above it")
	}
	return &price, nil
}

func (s *Server) bump(ctx context.Context, in *replaceInput) (*body[Transaction], error) {
	price, err := in.price()
	if err != nil {
		return nil, err
	}
	return s.onTransaction(in.ID, func(id transaction.ID) (transaction.Report, error) {
		return s.Transactions.Bump(ctx, id, price, callerOf(ctx).Subject, in.Body.Reason)
	})
}

func (s *Server) cancel(ctx context.Context, in *replaceInput) (*body[Transaction], error) {
	price, err := in.price()
	if err != nil {
		return nil, err
	}
	return s.onTransaction(in.ID, func(id transaction.ID) (transaction.Report, error) {
		return s.Transactions.Cancel(ctx, id, price, callerOf(ctx).Subject, in.Body.Reason)
	})
}

func (s *Server) resend(ctx context.Context, in *byID) (*body[Transaction], error) {
	return s.onTransaction(in.ID, func(id transaction.ID) (transaction.Report, error) {
		return s.Transactions.Resend(ctx, id, callerOf(ctx).Subject)
	})
}

type resolveInput struct {
	ID   string `path:"id" maxLength:"96"`
	Body struct {
		Hash     string `json:"hash,omitempty" maxLength:"128" doc:"Of the attempt that has spent the nonce."`
		Foreign  bool   `json:"foreign,omitempty" doc:"It was spent on something that Aval did not decide. Either this or a hash."`
		Block    uint64 `json:"block,omitempty" doc:"The block that holds that attempt."`
		Reverted bool   `json:"reverted,omitempty" doc:"Whether it was undone there."`
		Reason   string `json:"reason" minLength:"1" maxLength:"500" doc:"Where that was found out."`
	}
}

func (s *Server) resolve(ctx context.Context, in *resolveInput) (*body[Transaction], error) {
	if in.Body.Foreign == (in.Body.Hash != "") {
		return nil, problem.New(problem.Invalid, "verdict-incomplete", "say either the hash of the attempt that has spent the nonce, or that it was spent on something foreign")
	}
	if (in.Body.Hash != "") != (in.Body.Block > 0) {
		return nil, problem.New(problem.Invalid, "verdict-incomplete", "with the hash of an attempt say which block holds it, and with nothing else")
	}
	v := transaction.Verdict{Hash: in.Body.Hash, Block: in.Body.Block, Reverted: in.Body.Reverted}
	return s.onTransaction(in.ID, func(id transaction.ID) (transaction.Report, error) {
		return s.Transactions.Resolve(ctx, id, v, callerOf(ctx).Subject, in.Body.Reason)
	})
}

// onTransaction does something with the transaction that is named, and shows it.
func (s *Server) onTransaction(text string, do func(transaction.ID) (transaction.Report, error)) (*body[Transaction], error) {
	id, err := transaction.ParseID(text)
	if err != nil {
		return nil, err
	}
	r, err := do(id)
	if err != nil {
		return nil, err
	}
	return &body[Transaction]{Body: viewOfTransaction(r)}, nil
}
