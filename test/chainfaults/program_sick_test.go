//go:build nodes

package chainfaults

import (
	"flag"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/internal/chain/evm/nodes"
	"github.com/avalhq/aval/internal/transaction"
	"github.com/avalhq/aval/test/e2e/stage"
)

var sicknesses = flag.Int("sicknesses", 3, "in how many ways the node of the program is sick, up to 6")

// TestTheProgramOverASickNode submits transfers while geth, a block a second, is sick in one way after the other, and while it is killed
// and comes back. Who submits is never refused for it. In the end each transfer is on the chain once, as it is told.
func TestTheProgramOverASickNode(t *testing.T) {
	t.Parallel()
	node := start(t, nodes.Geth, nodes.Options{Arguments: archive})
	sick := nodes.NewProxy(node.URL())
	t.Cleanup(sick.Close)
	s := serving(t, node, place{chain: map[string]any{"confirmations": confirmations, "final_depth": finalDepth, "timeout": "500ms", "poll": "100ms"}})
	s.wire.Lead(sick.URL)
	for i, c := range []struct {
		what   string
		faults nodes.Faults
	}{
		{what: "a fifth of all requests fails", faults: nodes.Faults{Every: 5}},
		{what: "it takes transactions and gives no answer", faults: nodes.Faults{Swallow: true}},
		{what: "it lags", faults: nodes.Faults{Behind: 3}},
		{what: "it takes transactions and forgets them", faults: nodes.Faults{Forget: true}},
		{what: "it asks to be left alone", faults: nodes.Faults{Limited: time.Second}},
		{what: "it is away", faults: nodes.Faults{Down: true}},
	} {
		if i == *sicknesses {
			break
		}
		sick.Do(c.faults)
		s.order(5)
		if accepted := s.submit(t.Context(), 5); accepted != len(s.all) {
			t.Errorf("%s: %d of %d transfers were accepted", c.what, accepted, len(s.all))
		}
		time.Sleep(1500 * time.Millisecond) // so long, with a block at least, it is sick
		sick.Do(nodes.Faults{})
		began := time.Now()
		s.ended(patience)
		t.Logf("%s: %s after it was well, all had ended", c.what, time.Since(began).Round(100*time.Millisecond))
	}
	s.pay(20)
	check(t, node.Kill())
	time.Sleep(time.Second) // the program asks a node that is not there
	check(t, node.Start(t.Context()))
	began := time.Now()
	s.ended(patience)
	s.confirmed(s.all, nil)
	t.Logf("killed: %s after it was back, all had ended; %d attempts besides", time.Since(began).Round(100*time.Millisecond), s.check())
}

// TestI14ALyingHeadConfirmsNothingInTheProgram: one of three nodes tells a head that is ten blocks too high, or too low. No message ends
// before its transaction is as deep as it has to be by the blocks of the others.
func TestI14ALyingHeadConfirmsNothingInTheProgram(t *testing.T) {
	for name, faults := range map[string]nodes.Faults{"ahead": {Ahead: 10}, "behind": {Behind: 10}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ways := make([]*nodes.Proxy, 3)
			chain := shallow()
			chain["quorum"] = 2
			s := serving(t, still(t), place{chain: chain, via: several(t, ways)})
			s.mine(20)
			ways[0].Do(faults)
			web := &stage.Party{URL: s.in.URL}
			eventually(t, "the lie to be found out", func() bool {
				for line := range strings.Lines(string(web.Do(t, http.MethodGet, "/metrics", "none", nil).Body)) {
					if strings.HasPrefix(line, "aval_endpoint_up{") && strings.HasSuffix(line, " 0\n") {
						return true
					}
				}
				return false
			}, func() string { return "it counts as well" })
			some := s.pay(3)
			s.mine(1)
			s.seen(some) // as mined: one block is not deep enough
			time.Sleep(time.Second)
			for _, m := range some {
				if rec, err := s.party.Get(t.Context(), m.id); err != nil || rec.Status.Final() || s.of(m).Status != string(transaction.Mined) {
					t.Errorf("the transfer %s is %s, one block deep of two, %v", m.id, rec.Status, err)
				}
			}
			s.mine(1)
			s.confirmed(some, nil) // whatever the one says
			s.ended(patience)
			if others := s.check(); others != 0 {
				t.Errorf("%d transactions were signed besides", others)
			}
		})
	}
}

// TestI12TheProgramFillsWhatAStrangerLetGo: somebody else uses the wallet's key (anvil signs for any address) behind Aval's back, an
// operator says that it is known, and a reorganisation takes the stranger's transactions away. The nonces are filled by transactions
// that no message has; every command and job that meets them tells what they are.
func TestI12TheProgramFillsWhatAStrangerLetGo(t *testing.T) {
	t.Parallel()
	s := serving(t, still(t), place{chain: shallow()})
	s.confirmed(s.pay(2), s.growing())
	before := s.head()
	address := s.wallets[0].Address
	check(t, s.node.Call(t.Context(), nil, "anvil_impersonateAccount", address))
	for range 2 {
		check(t, s.node.Call(t.Context(), nil, "eth_sendTransaction", map[string]any{"from": address, "to": sink, "value": "0x0"}))
		s.mine(1)
	}
	k := s.halted()
	_, err := s.operator.Acknowledge(t.Context(), k.ID, 4, "known")
	check(t, err)
	check(t, s.node.Reorg(t.Context(), uint64(s.head()-before)))
	s.order(1)
	s.submit(t.Context(), 1)
	s.confirmed(s.all[2:], s.growing())
	s.ended(patience)

	entries := readLedger(t, s.node, address)
	for from, all := range entries {
		if len(all) != 5 || !stage.Idle(all[2].Transaction, from) || !stage.Idle(all[3].Transaction, from) || all[4].To().Hex() != s.all[2].to {
			t.Errorf("the chain shows %d transactions of %s; wanted are two, two that do nothing, and one", len(all), from)
		}
	}
	s.answers(t, "fills a nonce that somebody else had spent", "tx", "why", k.ID+":2")
	s.answers(t, "no-op", "tx", "show", k.ID+":3")
	s.answers(t, "confirmed +1 +no-op", "tx", "list", "--hash", entries[common.HexToAddress(address)][3].Hash().Hex())
	s.answers(t, "every signature was decided", "job", "verify", "--config", "%CONFIG%")
	filled, err := s.operator.Transaction(t.Context(), k.ID+":2")
	check(t, err)
	if filled.Message != "" || filled.To != address || filled.Value != "0" {
		t.Errorf("what fills a nonce is told as %+v", filled)
	}
}

// halted waits until the program has set the wallet's key aside.
func (s *site) halted() (k client.Key) {
	s.t.Helper()
	eventually(s.t, "the stranger to be noticed", func() bool {
		keys, err := s.operator.Keys(s.t.Context())
		check(s.t, err)
		k = keys[0]
		return k.Status == "quarantined"
	}, func() string { return k.Status })
	return k
}

// answers runs a command of the program, which has to say something.
func (s *site) answers(t *testing.T, want string, args ...string) {
	t.Helper()
	out, err := s.in.Ask(t.Context(), args...)
	if err != nil || !regexp.MustCompile(want).MatchString(out) {
		t.Errorf("aval %s says %q, %v; it should say %q", strings.Join(args, " "), out, err, want)
	}
}

// refused runs a command of the program, which has to fail and say why.
func (s *site) refused(t *testing.T, want string, args ...string) {
	t.Helper()
	if out, err := s.in.Ask(t.Context(), args...); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("aval %s says %q, %v; it should be refused with %q", strings.Join(args, " "), out, err, want)
	}
}
