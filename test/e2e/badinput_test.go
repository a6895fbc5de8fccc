package e2e

import (
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/avalhq/aval/client"
)

// TestBadInputIsRefusedBeforeItIsAccepted: what a client may get wrong, or try. The SDK signs nothing of this, so what it has signed is
// changed afterwards. No wallet's nonce is taken: the next transfer has the first.
func TestBadInputIsRefusedBeforeItIsAccepted(t *testing.T) {
	s := open(t, nil)
	const nobody = "0x0000000000000000000000000000000000000000"
	good := map[string]map[string]string{
		"transfer.v1": {"wallet": s.wallet.ID, "to": payee, "asset": "native", "amount": "7"},
		"call.v1":     {"wallet": s.wallet.ID, "to": payee, "value": "0", "data": "0x12345678"},
	}
	for name, c := range map[string]struct {
		kind, field, value string
		want               string
	}{
		"wrong checksum":        {"transfer.v1", "to", strings.Replace(payee, "A11cE", "a11cE", 1), "message-invalid"},
		"zero address":          {"transfer.v1", "to", nobody, "message-invalid"},
		"zero address, called":  {"call.v1", "to", nobody, "message-invalid"},
		"more than a word":      {"transfer.v1", "amount", "1" + strings.Repeat("0", 80), "message-invalid"},
		"a nonce of its own":    {"transfer.v1", "nonce", "5", "typed-data-mismatch"},
		"A9 no chain":           {"call.v1", "chainId", "0", "typed-data-mismatch"},
		"A10 authorization":     {"call.v1", "authorizationList", "[]", "typed-data-mismatch"},
		"no hex":                {"call.v1", "data", "0xzz", "message-invalid"},
		"A12 another call data": {"call.v1", "function", "transfer(address,uint256)", "calldata-mismatch"},
	} {
		t.Run(name, func(t *testing.T) {
			m, ids := s.draft(s.alice, c.kind, good[c.kind])
			changed := edit(t, s.sign(s.alice, m, ids), func(doc map[string]any) {
				doc["payload"].(map[string]any)["message"].(map[string]any)[c.field] = c.value
			})
			refused(t, s.put(s.alice, m.ID, changed), http.StatusBadRequest, c.want)
		})
	}
	t.Run("another chain", func(t *testing.T) {
		m, ids := s.draft(s.alice, "transfer.v1", good["transfer.v1"])
		changed := edit(t, s.sign(s.alice, m, ids), func(doc map[string]any) {
			doc["payload"].(map[string]any)["message"].(map[string]any)["chain"] = "eip155:5"
		})
		refused(t, s.put(s.alice, m.ID, changed), http.StatusBadRequest, "chain-unknown")
	})
	t.Run("more than there is", func(t *testing.T) {
		if rec := s.ends(s.transfer(payee, "native", "1"+strings.Repeat("0", 30)).ID, client.Failed); !strings.HasPrefix(rec.Reason, "insufficient-funds") {
			t.Errorf("it ended as %+v", rec)
		}
	})
	t.Run("a token that is not there", func(t *testing.T) {
		if rec := s.ends(s.transfer(payee, "erc20:"+payee, "1").ID, client.Failed); !strings.HasPrefix(rec.Reason, "address-invalid: there is no contract at ") {
			t.Errorf("it ended as %+v", rec)
		}
	})
	s.ends(s.transfer(payee, "native", "3").ID, client.Succeeded)
	if paid := s.paid(s.wallet.Address); len(paid) != 1 || paid[0].Nonce() != 0 {
		t.Errorf("the chain shows %d transactions", len(paid))
	}
}

// TestA12ABoundContractIsCalledByItsABI: the operator has named an ABI by the contract's address. Data that is no call by it is
// refused before it is signed, whether the message declares what it calls or not, and whatever the policy allows.
func TestA12ABoundContractIsCalledByItsABI(t *testing.T) {
	s := open(t, nil)
	token := s.token()
	s.stop()
	folder := filepath.Join(s.in.Folder, "abis")
	erc20 := `[{"type":"function","name":"transfer","inputs":[{"name":"to","type":"address"},{"name":"amount","type":"uint256"}],"outputs":[{"name":"","type":"bool"}]}]`
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, token+".json"), []byte(erc20), 0o600); err != nil {
		t.Fatal(err)
	}
	rules := filepath.Join(s.in.Folder, "policy.yaml")
	if err := os.WriteFile(rules, []byte("rules:\n  - {name: everything, effect: allow, when: \"true\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.in.Set(t, "policy", rules)
	s.in.Set(t, "chain", map[string]any{"url": s.chain.Wire.URL, "id": s.chain.ChainID(), "abis": folder})
	s.serve()
	pay := "0xa9059cbb" + addressWord(payee) + word(big.NewInt(40))
	for name, data := range map[string]string{
		"a function that the ABI does not have": "0x095ea7b3" + addressWord(payee) + word(big.NewInt(1)),
		"bytes too many":                        pay + "00",
		"a part of the arguments":               pay[:80],
	} {
		if rec := s.ends(s.call(token, data).ID, client.Failed); !strings.Contains(rec.Reason, "policy-denied") || !strings.Contains(rec.Reason, token) {
			t.Errorf("%s ended as %+v", name, rec)
		}
	}
	called := s.ends(s.call(strings.ToLower(token), pay).ID, client.Succeeded)
	all, err := s.operator.Transactions(t.Context(), client.TransactionQuery{Message: called.ID})
	if err != nil || len(all) != 1 {
		t.Fatalf("the call has the transactions %+v, %v", all, err)
	}
	want := fmt.Sprintf(`["%s","40"]`, payee)
	if tx, err := s.operator.Transaction(t.Context(), all[0].ID); err != nil || tx.Call == nil || tx.Call.Function != "transfer(address,uint256)" || string(tx.Call.Args) != want {
		t.Errorf("its transaction is told as %+v, %v; it calls transfer with %s", tx.Call, err, want)
	}
	s.ends(s.transfer(payee, "erc20:"+token, "2").ID, client.Succeeded)
	if paid, has := s.paid(s.wallet.Address), holds(t.Context(), t, s.chain, token, payee); len(paid) != 2 || paid[0].Nonce() != 0 || has != 42 {
		t.Errorf("the chain shows %d transactions, and the payee has %d", len(paid), has)
	}
}
