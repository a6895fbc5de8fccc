package e2e

import (
	"bytes"
	"context"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/ethclient"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/contracts"
	"github.com/avalhq/aval/test/e2e/stage"
)

// payee is nobody's address.
const payee = "0x00000000000000000000000000000000000A11cE"

// token deploys the test token and gives the wallet 1000 units of it.
func (s *scene) token() string {
	s.t.Helper()
	ctx := s.t.Context()
	code, err := contracts.TestToken("Test euro", "EURT", 2)
	if err != nil {
		s.t.Fatal(err)
	}
	address, hash, err := s.chain.Deploy(ctx, code)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.chain.Mined(ctx, hash); err != nil {
		s.t.Fatal(err)
	}
	mint, err := contracts.MintTestToken(s.wallet.Address, big.NewInt(1000))
	if err == nil {
		hash, err = s.chain.Call(ctx, address, mint)
	}
	if err == nil {
		_, err = s.chain.Mined(ctx, hash)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return address
}

// holds asks the chain itself how much of a token an address has.
func holds(ctx context.Context, t *testing.T, chain *stage.Chain, token, owner string) int64 {
	t.Helper()
	view, err := ethclient.DialContext(ctx, chain.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	contract := common.HexToAddress(token)
	balanceOf := append(hexutil.MustDecode("0x70a08231"), common.LeftPadBytes(common.HexToAddress(owner).Bytes(), 32)...)
	raw, err := view.CallContract(ctx, ethereum.CallMsg{To: &contract, Data: balanceOf}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return new(big.Int).SetBytes(raw).Int64()
}

func TestTokenTransfer(t *testing.T) {
	s := open(t, nil)
	token := s.token()
	sent := s.transfer(payee, "erc20:"+token, "250")
	rec := s.ends(sent.ID, client.Succeeded)
	if has, left := holds(t.Context(), t, s.chain, token, payee), holds(t.Context(), t, s.chain, token, s.wallet.Address); has != 250 || left != 750 {
		t.Errorf("the chain shows %d for the payee and %d for the wallet: %+v", has, left, rec)
	}
	if balance, err := s.alice.Balance(t.Context(), s.wallet.ID, "erc20:"+token); err != nil || balance != "750" {
		t.Errorf("Aval says that %s are left, %v", balance, err)
	}
	refusedOnChain := s.transfer(payee, "erc20:"+token, "751")
	if rec := s.ends(refusedOnChain.ID, client.Failed); !strings.Contains(rec.Reason, "execution-reverted") {
		t.Errorf("more than there is ended as %+v", rec)
	}
	if paid := s.paid(s.wallet.Address); len(paid) != 1 {
		t.Errorf("the chain shows %d transactions, want the one that could go well", len(paid))
	}
}

// call is the body of a call.v1.
func (s *scene) call(to, data string) client.Record {
	s.t.Helper()
	return s.send("call.v1", map[string]string{"wallet": s.wallet.ID, "to": to, "value": "0", "data": data})
}

func word(n *big.Int) string { return hexutil.Encode(common.LeftPadBytes(n.Bytes(), 32))[2:] }

func addressWord(address string) string { return word(common.HexToAddress(address).Big()) }

func TestA11UnknownSelector(t *testing.T) {
	s := open(t, nil)
	token := s.token()
	allowed := s.call(token, "0xa9059cbb"+addressWord(payee)+word(big.NewInt(40)))
	s.ends(allowed.ID, client.Succeeded)
	mint := s.call(token, "0x40c10f19"+addressWord(payee)+word(big.NewInt(40))) // anybody may mint the test token: the policy alone stands before it
	if rec := s.ends(mint.ID, client.Failed); !strings.Contains(rec.Reason, "policy-denied") {
		t.Errorf("an unknown selector ended as %+v", rec)
	}
	if has := holds(t.Context(), t, s.chain, token, payee); has != 40 {
		t.Errorf("the payee has %d, want what the allowed call has sent", has)
	}
}

// A12: a call that says what it is goes through when it says so truly, and is not accepted otherwise.
func TestA12DeclaredCall(t *testing.T) {
	s := open(t, nil)
	token := s.token()
	args := `["` + payee + `","40"]`
	data, err := client.Calldata("transfer(address,uint256)", args)
	if err != nil {
		t.Fatal(err)
	}
	body := map[string]string{"wallet": s.wallet.ID, "to": token, "value": "0", "data": data, "function": "transfer(address,uint256)", "args": args}
	s.ends(s.send("call.v1", body).ID, client.Succeeded)
	body["args"] = `["` + payee + `","4"]` // what a person would be shown
	m, ids := s.draft(s.alice, "call.v1", body)
	if _, err := s.alice.Client.Sign(m, ids, s.alice.Sign); err == nil || !strings.Contains(err.Error(), "is not the encoding of the arguments") {
		t.Errorf("another view of the same data is signed: %v", err)
	}
	if has := holds(t.Context(), t, s.chain, token, payee); has != 40 {
		t.Errorf("the payee has %d", has)
	}
}

// Of two transfers that are each covered and not together, one ends as failed with the token's own reason: before it was signed,
// or, when both were built before either was mined, after it was mined and reverted.
func TestARevertIsExplained(t *testing.T) {
	s := open(t, nil)
	token := s.token() // 1000 of it
	first, second := s.transfer(payee, "erc20:"+token, "600"), s.transfer(payee, "erc20:"+token, "600")
	done := func(r client.Record) bool { return r.Archived || r.Status == client.Parked }
	good, failed := s.until(first.ID, "at its end", done), s.until(second.ID, "at its end", done)
	if good.Status != client.Succeeded {
		good, failed = failed, good
	}
	if good.Status != client.Succeeded || failed.Status != client.Failed || !strings.Contains(failed.Reason, "ERC20InsufficientBalance(sender: "+s.wallet.Address) {
		t.Errorf("they ended as %+v and %+v", good, failed)
	}
	if mined := strings.Contains(failed.Reason, "and reverted"); mined != (len(s.paid(s.wallet.Address)) == 2) || mined && !strings.Contains(string(failed.Ext), `"gas_used":`) {
		t.Errorf("the chain shows %d transactions, and the message %s, %s", len(s.paid(s.wallet.Address)), failed.Reason, failed.Ext)
	}
}

// What would cost more than its budget waits without a nonce; when the message's own time is over it is refused, and the
// wallet's next transaction goes on.
func TestABudgetHoldsUpAndExpiryEnds(t *testing.T) {
	s := open(t, nil)
	s.stop()
	chain := map[string]any{"url": s.chain.Wire.URL, "id": s.chain.ChainID()}
	s.in.Set(t, "chain", map[string]any{"url": s.chain.Wire.URL, "id": s.chain.ChainID(), "fees": map[string]any{
		"types": map[string]any{"transfer.v1": map[string]any{"budget": "1 gwei"}},
	}})
	s.serve()
	m, ids := s.draft(s.alice, "transfer.v1", client.Transfer{Wallet: s.wallet.ID, To: payee, Asset: "native", Amount: "7"})
	m.Expires = time.Now().Add(4 * time.Second).Truncate(time.Second)
	if _, err := s.alice.Submit(t.Context(), m.ID, s.sign(s.alice, m, ids)); err != nil {
		t.Fatal(err)
	}
	if rec := s.ends(m.ID, client.Failed); !strings.Contains(rec.Reason, "message-expired") {
		t.Errorf("it ended as %+v", rec)
	}
	steps, err := s.alice.History(t.Context(), m.ID)
	if err != nil || !strings.Contains(fmt.Sprint(steps), "fee-budget-exceeded") {
		t.Errorf("the history does not tell why it waited: %+v, %v", steps, err)
	}
	s.stop()
	s.in.Set(t, "chain", chain)
	s.serve()
	s.ends(s.transfer(payee, "native", "3").ID, client.Succeeded)
	if paid := s.paid(s.wallet.Address); len(paid) != 1 || paid[0].Nonce() != 0 {
		t.Errorf("the chain shows %d transactions", len(paid))
	}
}

func TestA13PowerGivenAway(t *testing.T) {
	s := open(t, nil)
	token := s.token()
	most := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1))
	for name, data := range map[string]string{
		"unlimited approve":  "0x095ea7b3" + addressWord(payee) + word(most),
		"approval for all":   "0xa22cb465" + addressWord(payee) + word(big.NewInt(1)),
		"ownership transfer": "0xf2fde38b" + addressWord(payee),
		"upgrade":            "0x3659cfe6" + addressWord(payee),
	} {
		if rec := s.ends(s.call(token, data).ID, client.Failed); !strings.Contains(rec.Reason, "policy-denied") {
			t.Errorf("%s ended as %+v", name, rec)
		}
	}
	if paid := s.paid(s.wallet.Address); len(paid) != 0 {
		t.Errorf("the chain shows %d transactions", len(paid))
	}
}

// TestI23PolicyAtTheMomentOfTheEffect disables the client after its message was accepted and authorised, while the chain is
// out of reach: what would have been signed is not.
func TestI23PolicyAtTheMomentOfTheEffect(t *testing.T) {
	s := open(t, nil)
	s.chain.Wire.Cut(true)
	sent := s.transfer(payee, "native", "5")
	s.until(sent.ID, "waiting to sign", func(r client.Record) bool { return r.State == "Sign" && r.Status == client.Waiting })
	if _, err := s.operator.Disable(t.Context(), s.alice.ID); err != nil {
		t.Fatal(err)
	}
	s.chain.Wire.Cut(false)
	if rec := s.ends(sent.ID, client.Failed); !strings.Contains(rec.Reason, "client-disabled") {
		t.Errorf("it ended as %+v", rec)
	}
	if paid := s.paid(s.wallet.Address); len(paid) != 0 || len(s.chain.Wire.Broadcasts()) != 0 {
		t.Errorf("the chain shows %d transactions, and %d were broadcast", len(paid), len(s.chain.Wire.Broadcasts()))
	}
}

// An operator holds a message back while the chain is out of reach; it goes on when he says so, and not before. Once
// archived, everything about it can still be read.
func TestHeldResumedAndArchived(t *testing.T) {
	s := open(t, nil)
	s.chain.Wire.Cut(true)
	m, ids := s.draft(s.alice, "transfer.v1", client.Transfer{Wallet: s.wallet.ID, To: payee, Asset: "native", Amount: "9"})
	signed := s.sign(s.alice, m, ids)
	if _, err := s.alice.Submit(t.Context(), m.ID, signed); err != nil {
		t.Fatal(err)
	}
	s.until(m.ID, "waiting", func(r client.Record) bool { return r.Status == client.Waiting })
	if why, err := s.alice.Why(t.Context(), m.ID); err != nil || !bytes.Contains(why, []byte("chain-unreachable")) {
		t.Errorf("why it waits: %s, %v", why, err)
	}
	if _, err := s.operator.Park(t.Context(), m.ID, "the node is being replaced"); err != nil {
		t.Fatal(err)
	}
	s.chain.Wire.Cut(false)
	other := s.transfer(payee, "native", "1")
	s.ends(other.ID, client.Succeeded)
	if rec := s.ends(m.ID, client.Parked); !strings.Contains(rec.Reason, "the node is being replaced") {
		t.Errorf("it is held as %+v", rec)
	}
	if _, err := s.operator.Resume(t.Context(), m.ID); err != nil {
		t.Fatal(err)
	}
	rec := s.ends(m.ID, client.Succeeded)
	if original, err := s.alice.Original(t.Context(), m.ID); err != nil || !bytes.Equal(original, signed) {
		t.Errorf("the archived original is %q, %v", original, err)
	}
	history, err := s.alice.History(t.Context(), m.ID)
	if err != nil || int64(len(history)) != rec.Version {
		t.Errorf("the archived history has %d entries of %d, %v", len(history), rec.Version, err)
	}
	if paid := s.paid(s.wallet.Address); len(paid) != 2 || paid[1].Value().Int64() != 9 {
		t.Errorf("the chain shows %d transactions", len(paid))
	}
}

// Transfers go over each kind of connection, also after the node was restarted.
func TestEndpoints(t *testing.T) {
	for name, url := range map[string]func(*stage.Chain) string{
		"WebSocket": func(c *stage.Chain) string { return c.WebSocketURL() },
		"IPC":       func(c *stage.Chain) string { return c.IPC() },
		"HTTP":      func(c *stage.Chain) string { return c.URL() },
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, nil)
			if err := s.process.Stop(); err != nil {
				t.Fatal(err)
			}
			s.in.Set(t, "chain", map[string]any{"url": url(s.chain), "id": s.chain.ChainID()})
			s.serve()
			s.ends(s.transfer(payee, "native", "1").ID, client.Succeeded)
			if err := s.chain.Restart(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.ends(s.transfer(payee, "native", "2").ID, client.Succeeded)
			if paid := s.paid(s.wallet.Address); len(paid) != 2 {
				t.Errorf("the chain shows %d transactions", len(paid))
			}
		})
	}
}
