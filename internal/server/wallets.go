package server

import (
	"context"
	"net/http"
	"time"

	"github.com/avalhq/aval/internal/clients"
	"github.com/avalhq/aval/internal/problem"
	"github.com/avalhq/aval/internal/wallet"
)

func (s *Server) walletRoutes() {
	create := operation("create-wallet", http.MethodPost, "/v1/wallets", "wallets", "Create a wallet, or get the one of that name", byEither)
	create.Description = "An owner has one wallet of a name on a chain: the same request again gives the same wallet."
	route(s, create, s.createWallet)
	route(s, operation("list-wallets", http.MethodGet, "/v1/wallets", "wallets", "List wallets, oldest first", byEither), s.listWallets)
	route(s, operation("get-wallet", http.MethodGet, "/v1/wallets/{id}", "wallets", "Read a wallet", byEither), s.getWallet)
	route(s, operation("get-wallet-balance", http.MethodGet, "/v1/wallets/{id}/balance", "wallets", "Ask the chain for a wallet's balance", byEither), s.balance)
}

// Wallet is a wallet as the API shows it.
type Wallet struct {
	ID      string    `json:"id" example:"wal_01k9x0v7k2f6wr9h0c8m1n2p3q"`
	Owner   string    `json:"owner" doc:"The client that it belongs to."`
	Name    string    `json:"name"`
	Chain   string    `json:"chain" example:"eip155:1337"`
	Address string    `json:"address"`
	Key     string    `json:"key" doc:"The key that signs for it."`
	Created time.Time `json:"created"`
}

// WalletPage is a part of a list of wallets.
type WalletPage struct {
	Wallets []Wallet `json:"wallets" nullable:"false"`
	Next    string   `json:"next,omitempty" doc:"The cursor of the next page; absent on the last one."`
}

func viewOfWallet(w wallet.Wallet) Wallet {
	v := Wallet(w)
	v.Created = v.Created.UTC()
	return v
}

type createWalletInput struct {
	Body struct {
		Chain string `json:"chain,omitempty" maxLength:"64" doc:"CAIP-2 id; may be left out where there is one chain."`
		Name  string `json:"name" minLength:"1" maxLength:"80"`
		Owner string `json:"owner,omitempty" maxLength:"64" doc:"The client that it is for; only an operator may name another than itself."`
	}
}

func (s *Server) createWallet(ctx context.Context, in *createWalletInput) (*body[Wallet], error) {
	owner, err := s.owner(ctx, in.Body.Owner)
	if err != nil {
		return nil, err
	}
	chain := in.Body.Chain
	if chain == "" && len(s.config.Chains) == 1 {
		chain = s.config.Chains[0].ID
	}
	if !s.serves(chain) {
		return nil, problem.New(problem.Unprocessable, "chain-unknown", "this installation does not serve that chain; GET /v1/chains lists those that it does")
	}
	w, err := s.Wallets.Create(ctx, owner, chain, in.Body.Name)
	if err != nil {
		return nil, err
	}
	return &body[Wallet]{Body: viewOfWallet(w)}, nil
}

// owner is the client that a new wallet is for.
func (s *Server) owner(ctx context.Context, asked string) (string, error) {
	c := callerOf(ctx)
	if asked == "" {
		asked = c.client
	}
	if asked == "" {
		return "", problem.New(problem.Invalid, "owner-missing", "say which client the wallet is for")
	}
	if !c.sees(asked) {
		return "", clients.ErrUnknown
	}
	_, err := s.Clients.Get(ctx, asked)
	return asked, err
}

type listWalletsInput struct {
	Owner  string `query:"owner" maxLength:"64" doc:"Operators only."`
	Cursor string `query:"cursor" maxLength:"256"`
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
}

func (s *Server) listWallets(ctx context.Context, in *listWalletsInput) (*body[WalletPage], error) {
	owner, err := narrowed(ctx, in.Owner)
	if err != nil {
		return nil, err
	}
	limit := max(in.Limit, 1)
	found, err := s.Wallets.List(ctx, owner, in.Cursor, limit)
	if err != nil {
		return nil, err
	}
	out := WalletPage{Wallets: make([]Wallet, len(found))}
	for i, w := range found {
		out.Wallets[i] = viewOfWallet(w)
	}
	if len(found) == limit {
		out.Next = found[limit-1].ID
	}
	return &body[WalletPage]{Body: out}, nil
}

// wallet reads one that the caller may see.
func (s *Server) wallet(ctx context.Context, id string) (wallet.Wallet, error) {
	w, err := s.Wallets.Get(ctx, id)
	if err == nil && !callerOf(ctx).sees(w.Owner) {
		return wallet.Wallet{}, wallet.ErrUnknown
	}
	return w, err
}

func (s *Server) getWallet(ctx context.Context, in *byID) (*body[Wallet], error) {
	w, err := s.wallet(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &body[Wallet]{Body: viewOfWallet(w)}, nil
}

// Balance is what a wallet holds of an asset, at the chain's head.
type Balance struct {
	Wallet string `json:"wallet"`
	Asset  string `json:"asset" example:"native"`
	Amount string `json:"amount" doc:"In the asset's smallest unit."`
}

type balanceInput struct {
	ID    string `path:"id" maxLength:"64"`
	Asset string `query:"asset" maxLength:"128" default:"native" doc:"native, or what the message types take as asset for a token."`
}

func (s *Server) balance(ctx context.Context, in *balanceInput) (*body[Balance], error) {
	w, err := s.wallet(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	amount, err := s.Wallets.Balance(ctx, w.ID, in.Asset)
	if err != nil {
		return nil, err
	}
	return &body[Balance]{Body: Balance{Wallet: w.ID, Asset: in.Asset, Amount: amount.String()}}, nil
}
