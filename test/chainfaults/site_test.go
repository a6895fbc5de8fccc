//go:build nodes

package chainfaults

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/params"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/internal/chain/evm/nodes"
	"github.com/avalhq/aval/test/e2e/stage"
)

// site is an installation of the whole program over a node.
type site struct {
	t        *testing.T
	node     *nodes.Node
	wire     *stage.Wire // between the two: what was ever sent
	in       *stage.Installation
	process  *stage.Process // the newest
	operator *client.Client
	party    *stage.Party
	wallets  []client.Wallet
	all      []*shipment
}

// shipment is what a client writes down of a transfer.
type shipment struct {
	wallet   client.Wallet
	to       string // nobody else is paid there
	amount   string
	id       string
	signed   []byte
	accepted bool // a 2xx came back
	givenUp  bool // no node takes it: its nonce is filled
}

// place is what a site differs in.
type place struct {
	wallets int
	chain   map[string]any             // more of this section of the configuration
	via     func(wire string) []string // ways to the wire, when there is something between it and the program
}

// newSite installs the program and opens wallets. Nothing serves after it.
func newSite(t *testing.T, node *nodes.Node, at place) *site {
	t.Helper()
	s := &site{t: t, node: node, wire: stage.NewWire(t, node.URL())}
	section := map[string]any{"url": s.wire.URL, "id": node.ChainID(), "poll": "200ms"}
	if at.via != nil {
		section["url"] = at.via(s.wire.URL)
	}
	maps.Copy(section, at.chain)
	fields := map[string]any{"chain": section}
	if d := database(t); d != nil {
		fields["database"] = d
	}
	s.in = stage.Install(t, program, fields)
	s.start("")
	var err error
	s.operator, err = s.in.Operator(client.WithAttempts(1))
	check(t, err)
	address, sign, err := stage.NewSigner()
	check(t, err)
	s.party, err = stage.Enroll(t.Context(), s.operator, s.in.URL, "shop", address, sign, client.WithAttempts(1))
	check(t, err)
	for n := range at.wallets {
		w, err := s.party.CreateWallet(t.Context(), client.NewWallet{Name: fmt.Sprint("wallet ", n)})
		check(t, err)
		check(t, node.Fund(t.Context(), w.Address, new(big.Int).Mul(big.NewInt(1000), big.NewInt(params.Ether))))
		s.wallets = append(s.wallets, w)
	}
	check(t, s.process.Stop())
	return s
}

// start begins a life and waits until it serves, or has died of the rule before.
func (s *site) start(rule string) {
	s.t.Helper()
	p, err := s.in.Start(rule)
	check(s.t, err)
	s.t.Cleanup(p.Kill)
	s.process = p
	select {
	case <-p.Ready:
	case <-p.Done:
		if !p.Killed() {
			s.t.Fatal(p.Err())
		}
	case <-time.After(patience):
		s.t.Fatalf("aval did not start: %s", p.Stderr())
	}
}

// order adds transfers to what there is to submit, from one wallet after the other.
func (s *site) order(count int) {
	for range count {
		n := len(s.all)
		tag := crypto.Keccak256(binary.BigEndian.AppendUint64([]byte("chainfaults"), uint64(n)))
		s.all = append(s.all, &shipment{wallet: s.wallets[n%len(s.wallets)], to: common.BytesToAddress(tag).Hex(), amount: strconv.Itoa(1000 + n)})
	}
}

// submit submits what was not answered yet, some at once, until it was or the process is dead. What was signed is submitted
// again as it is. It gives how many were answered.
func (s *site) submit(ctx context.Context, atOnce int) (accepted int) {
	queue := make(chan *shipment)
	var clients sync.WaitGroup
	for range atOnce {
		clients.Go(func() {
			for m := range queue {
				err := s.submitOne(ctx, m)
				if m.accepted = err == nil; err != nil && !stage.Gone(err) {
					s.t.Errorf("the transfer %s to %s was refused: %v", m.id, m.to, err)
				}
			}
		})
	}
	for _, m := range s.all {
		if m.accepted {
			continue
		}
		select {
		case queue <- m:
		case <-s.process.Done:
		}
	}
	close(queue)
	clients.Wait()
	for _, m := range s.all {
		if m.accepted {
			accepted++
		}
	}
	return accepted
}

func (s *site) submitOne(ctx context.Context, m *shipment) error {
	if m.signed == nil {
		ids, err := s.party.IssueIDs(ctx, 1)
		if err != nil {
			return err
		}
		body := client.Transfer{Wallet: m.wallet.ID, To: m.to, Asset: "native", Amount: m.amount}
		what := client.Message{ID: ids.IDs[0].ID, Type: "transfer.v1", Client: ids.Client, Chain: ids.Domains[0].Chain, Expires: ids.IDs[0].Expires, Body: body}
		signed, err := s.party.Client.Sign(what, ids, s.party.Sign)
		if err != nil {
			return err
		}
		m.id, m.signed = what.ID, signed
	}
	_, err := s.party.Submit(ctx, m.id, m.signed)
	return err
}

// ended waits until nothing is on its way any more.
func (s *site) ended(within time.Duration) {
	s.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(within); ; <-tick.C {
		counts, err := s.operator.Counts(s.t.Context())
		check(s.t, err)
		open := int64(0)
		for _, c := range counts {
			if !c.Status.Final() {
				open += c.Number
			}
		}
		if open == 0 {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("after %s not everything has ended: %v, %s", within, counts, s.pending())
		}
	}
}

// pending says why some are where they are.
func (s *site) pending() (text string) {
	shown := 0
	for _, m := range s.all {
		rec, err := s.party.Get(s.t.Context(), m.id)
		if err == nil && rec.Status.Final() {
			continue
		}
		known, unknown := s.operator.Transactions(s.t.Context(), client.TransactionQuery{Message: m.id})
		text += fmt.Sprintf("%s is %s in %s, %+v, %v\n", m.id, rec.Status, rec.State, known, errors.Join(err, unknown))
		if shown++; shown == 3 {
			break
		}
	}
	return text
}

// check holds what was accepted against the chain: each transfer is there once, from its wallet, under nonce, hash and block and
// with the outcome that Aval tells; nothing else is there, and nothing else was sent (I5, I6, I12, I15). It gives how many
// attempts no block holds.
func (s *site) check() (others int) {
	t := s.t
	t.Helper()
	var addresses []string
	for _, w := range s.wallets {
		addresses = append(addresses, w.Address)
	}
	l := readLedger(t, s.node, addresses...)
	paid := map[string]int{}
	for _, entries := range l {
		for _, e := range entries {
			paid[e.To().Hex()]++ // a no-op pays the wallet itself
		}
	}
	var readers sync.WaitGroup
	queue := make(chan *shipment)
	for range 8 {
		readers.Go(func() {
			for m := range queue {
				if err := s.compare(l, m); err != nil {
					t.Errorf("the transfer %s of %s to %s: %v", m.id, m.amount, m.to, err)
				}
			}
		})
	}
	for _, m := range s.all {
		if paid[m.to] != 1 && !m.givenUp || paid[m.to] > 0 && m.givenUp {
			t.Errorf("the transfer %s of %s to %s is on the chain %d times", m.id, m.amount, m.to, paid[m.to])
		}
		queue <- m
	}
	close(queue)
	readers.Wait()
	if l.Mined() != len(s.all) {
		t.Errorf("%d transfers were accepted, %d transactions are mined", len(s.all), l.Mined())
	}
	return besides(t, l, s.wire)
}

// compare holds what Aval tells of a transfer against the chain.
func (s *site) compare(l stage.Ledger, m *shipment) error {
	rec, err := s.party.Get(s.t.Context(), m.id)
	if err != nil {
		return fmt.Errorf("it was accepted and cannot be read: %w", err)
	}
	all, err := s.operator.Transactions(s.t.Context(), client.TransactionQuery{Message: m.id})
	if err != nil || len(all) != 1 || (rec.Status == client.Succeeded) == m.givenUp {
		return fmt.Errorf("it is %s with the transactions %+v, %w", rec.Status, all, err)
	}
	tx, entries := all[0], l[common.HexToAddress(m.wallet.Address)]
	if tx.Status != "confirmed" || tx.Mined == nil || tx.Success == nil || tx.Nonce >= uint64(len(entries)) {
		return fmt.Errorf("its transaction is told as %+v; the chain holds %d of its wallet", tx, len(entries))
	}
	e, told := entries[tx.Nonce], tx.Attempts[*tx.Mined]
	_, success, err := receipt(s.t.Context(), s.node, e)
	if err != nil {
		return err
	}
	to, amount := m.to, m.amount
	if m.givenUp {
		to, amount = m.wallet.Address, "0"
	}
	if told.Hash != e.Hash().Hex() || tx.Block != e.Block || *tx.Success != success || e.To().Hex() != to || e.Value().String() != amount {
		return fmt.Errorf("it is told as %s in block %d, success %v; the chain shows %s in block %d, success %v, which pays %s to %s",
			told.Hash, tx.Block, *tx.Success, e.Hash(), e.Block, success, e.Value(), e.To())
	}
	return nil
}
