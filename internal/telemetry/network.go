package telemetry

import (
	"context"
	"math/big"
	"time"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/problem"
)

// Network is the same network with each call measured by RPC; on nil it is network itself.
func (m *Metrics) Network(network chain.Network) chain.Network {
	if m == nil {
		return network
	}
	return measured{network, m}
}

type measured struct {
	chain.Network
	metrics *Metrics
}

// since records a call that began at the time given; of several errors the first counts.
func (n measured) since(method string, begun time.Time, errs ...error) {
	outcome := "ok"
	for _, err := range errs {
		if err != nil {
			outcome = problem.From(err).Code
			break
		}
	}
	n.metrics.RPC(method, outcome, time.Since(begun))
}

func (n measured) Head(ctx context.Context) (uint64, error) {
	begun := time.Now()
	head, err := n.Network.Head(ctx)
	n.since("head", begun, err)
	return head, err
}

func (n measured) Account(ctx context.Context, address string) (chain.Account, error) {
	begun := time.Now()
	account, err := n.Network.Account(ctx, address)
	n.since("account", begun, err)
	return account, err
}

func (n measured) Token(ctx context.Context, contract, address string) (*big.Int, error) {
	begun := time.Now()
	balance, err := n.Network.Token(ctx, contract, address)
	n.since("token", begun, err)
	return balance, err
}

func (n measured) Build(ctx context.Context, calls []chain.Call) ([]chain.Unsigned, []error) {
	begun := time.Now()
	txs, errs := n.Network.Build(ctx, calls)
	n.since("build", begun, errs...)
	return txs, errs
}

func (n measured) Send(ctx context.Context, raw [][]byte) []error {
	begun := time.Now()
	errs := n.Network.Send(ctx, raw)
	n.since("send", begun, errs...)
	return errs
}

func (n measured) Status(ctx context.Context, hashes []string) ([]chain.Status, error) {
	begun := time.Now()
	statuses, err := n.Network.Status(ctx, hashes)
	n.since("status", begun, err)
	return statuses, err
}
