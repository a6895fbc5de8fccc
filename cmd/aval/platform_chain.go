package main

import (
	"context"
	"fmt"
	"time"

	"github.com/avalhq/aval/internal/action/step"
	"github.com/avalhq/aval/internal/chain/evm"
	"github.com/avalhq/aval/internal/chain/evm/devchain"
)

func (p *platform) openChain(ctx context.Context) (err error) {
	c, urls := p.config.Chain, p.config.Chain.URL.Strings()
	if len(urls) == 0 {
		if err := p.openDevChain(ctx); err != nil {
			return err
		}
		urls = []string{p.dev.URL()}
	}
	fees := c.Fees
	minTip, err := fees.MinTip.Wei()
	if err != nil {
		return err
	}
	known, err := readABIs(p.config.Chain.ABIs)
	if err != nil {
		return err
	}
	p.bound = known.bound
	p.network, err = evm.Dial(ctx, evm.Config{
		URLs: urls, ChainID: c.ID, Quorum: c.Quorum, MaxLag: c.MaxLag, Timeout: c.Timeout, Observe: p.metrics.EndpointCall, GasMargin: fees.GasMargin,
		Poll: p.heads(), FeeKind: evm.FeeKind(fees.Kind), FeeBlocks: fees.Blocks, Headroom: fees.Headroom, MinTip: minTip, Errors: known.errors,
	})
	if err != nil {
		return err
	}
	p.closing(func() error { p.network.Close(); return nil })
	if thin := thinQuorum(len(urls), c.Quorum); thin != "" {
		p.log.WarnContext(ctx, "the chain's nodes protect against less than they could", "why", thin)
	}
	if p.fees, err = feePolicies(p.config.Chain); err != nil {
		return err
	}
	genesis, err := p.network.Genesis(ctx)
	if err != nil {
		return err
	}
	if p.config.Database.URL != "" {
		p.install.Genesis = genesis
		return nil
	}
	return p.install.meet(p.config.Data, genesis)
}

// thinQuorum says what several nodes do not protect against with such a quorum; "" where it is as it should be.
func thinQuorum(nodes, quorum int) string {
	switch {
	case nodes < 2:
		return ""
	case quorum == nodes:
		return fmt.Sprintf("chain.quorum asks for all %d nodes: when one of them does not answer nothing is confirmed; name one more", nodes)
	case quorum == 1:
		return fmt.Sprintf("chain.quorum is 1 of %d nodes: the first that answers is believed alone about what is mined; with three nodes and a quorum of 2 none is", nodes)
	}
	return ""
}

func (p *platform) openDevChain(ctx context.Context) (err error) {
	c := p.config.Chain
	p.dev, err = devchain.Start(ctx, devchain.Config{
		Folder: p.path("chain"), ChainID: c.ID, Port: c.Dev.Port, BlockTime: c.Dev.BlockTime, Trail: max(12, int(c.Confirmations)),
	})
	if err != nil {
		return err
	}
	p.closing(p.dev.Close)
	return nil
}

func (p *platform) chains() step.Chains {
	return step.Chains{p.chainID: {Network: p.metrics.Network(p.network), Codec: p.network.Codec(), Replayer: p.network, Fees: p.fees, Lanes: p.keeper, Bound: p.bound}}
}

// heads is how often a chain that does not tell is asked for its newest block.
func (p *platform) heads() time.Duration {
	if p.dev != nil {
		return min(max(p.config.Chain.Dev.BlockTime/2, 50*time.Millisecond), time.Second)
	}
	return p.config.Chain.Poll
}
