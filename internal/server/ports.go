package server

import (
	"context"
	"encoding/json"
	"math/big"
	"net/http"

	"github.com/avalhq/aval/internal/action/workflow"
	"github.com/avalhq/aval/internal/auth"
	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/clients"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/event"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/reference"
	"github.com/avalhq/aval/internal/transaction"
	"github.com/avalhq/aval/internal/wallet"
)

// Messages is what the server needs of Guarantee's service. Who may ask for a message is the server's matter; that a
// submission is the client's own is the service's.
type Messages interface {
	Issue(ctx context.Context, client string, n int) ([]guarantee.Issued, error)
	Submit(ctx context.Context, client string, id message.ID, original []byte) (rec guarantee.Record, created bool, err error)
	Get(ctx context.Context, id message.ID) (guarantee.Record, []guarantee.Entry, error)
	Park(ctx context.Context, id message.ID, by, reason string) error
	Resume(ctx context.Context, id message.ID, by string) error
	Replay(ctx context.Context, id message.ID, by string) error
	Migrate(ctx context.Context, m guarantee.Migration) (guarantee.Migrated, error)
}

// Tasks takes answers for tasks that wait for them; guarantee.Service does. by is who answers.
type Tasks interface {
	Succeed(ctx context.Context, token, by string, output json.RawMessage) error
	FailTask(ctx context.Context, token, by, name, cause string) error
	Heartbeat(ctx context.Context, token string) error
}

// Queries is what the server needs of Reference.
type Queries interface {
	List(ctx context.Context, q reference.Query) (reference.Page, error)
	Counts(ctx context.Context, client string) ([]reference.Count, error)
}

// Live hands out what happens from now on; event.Hub does.
type Live interface {
	Subscribe(buffer int, filter func(event.Event) bool) *event.Subscription
}

// Wallets is what the server needs of the wallet service. Create gives the owner's wallet of that name on that chain
// when there is one already.
type Wallets interface {
	Create(ctx context.Context, owner, chain, name string) (wallet.Wallet, error)
	Get(ctx context.Context, id string) (wallet.Wallet, error)
	List(ctx context.Context, owner, cursor string, limit int) ([]wallet.Wallet, error)
	Balance(ctx context.Context, id, asset string) (*big.Int, error)
}

// Keys is what the server needs of the key registry and the trust in its keys. Release ends a quarantine with the chain's view
// of the next nonce; Acknowledge compares that view with what the operator says, and records both.
type Keys interface {
	Get(ctx context.Context, id string) (key.Key, error)
	List(ctx context.Context) ([]key.Key, error)
	Release(ctx context.Context, id string) error
	Acknowledge(ctx context.Context, id string, spent uint64, by, why string) error
	Entries(ctx context.Context, id string) ([]key.Entry, error)
}

// Transactions is what the server needs of the transaction manager's desk; transaction.Desk does.
type Transactions interface {
	List(ctx context.Context, q transaction.Query) ([]transaction.Report, error)
	Show(ctx context.Context, id transaction.ID) (transaction.Report, error)
	Bump(ctx context.Context, id transaction.ID, price *chain.Price, by, why string) (transaction.Report, error)
	Cancel(ctx context.Context, id transaction.ID, price *chain.Price, by, why string) (transaction.Report, error)
	Resend(ctx context.Context, id transaction.ID, by string) (transaction.Report, error)
	Resolve(ctx context.Context, id transaction.ID, v transaction.Verdict, by, why string) (transaction.Report, error)
}

// Credentials gives a client a secret for the development issuer; auth.Issuer does.
type Credentials interface {
	Enroll(ctx context.Context, client string, scopes ...string) (secret string, err error)
}

// Types describes the message types; message.Catalog does. Schema and Struct refuse an unknown type.
type Types interface {
	Types() []string
	Schema(name string) (json.RawMessage, error)
	Struct(name string) (string, []message.Field, error)
}

// Workflows keeps definitions and says which of them messages begin with; workflow.Library does.
type Workflows interface {
	Install(ctx context.Context, name string, source []byte) (workflow.Version, error)
	Direct(ctx context.Context, a guarantee.Alias) error
	Versions(ctx context.Context) ([]workflow.Version, error)
}

// Mender holds Reference to Guarantee; reference.Service does.
type Mender interface {
	Verify(ctx context.Context, repair bool) (reference.Report, error)
}

// Services are what the server serves. Those that may be nil say so.
type Services struct {
	Messages     Messages
	Tasks        Tasks
	Why          func(ctx context.Context, id message.ID, operator bool) (guarantee.Why, error) // with what operators alone may read
	Queries      Queries
	Mender       Mender
	Outbox       event.Outbox
	Live         Live
	Clients      clients.Store // its rules are those of clients.Service
	Credentials  Credentials   // nil when tokens come from an outside issuer
	Wallets      Wallets
	Keys         Keys
	Transactions Transactions
	Types        Types
	Workflows    Workflows
	Tokens       auth.Verifier
	Alive        http.Handler // for /healthz; nil always says yes
	Ready        http.Handler // for /readyz; nil says yes until the server stops
	Metrics      http.Handler // may be nil
	Issuer       http.Handler // of the development issuer; may be nil
}
