package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/avalhq/aval/client"
)

// claims changes one part of a token, 0 its header and 1 its claims, and leaves the signature as it was.
func claims(t *testing.T, token string, part int, change func(m map[string]any)) string {
	t.Helper()
	parts := strings.Split(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(parts[part])
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	change(m)
	if raw, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	parts[part] = base64.RawURLEncoding.EncodeToString(raw)
	return strings.Join(parts, ".")
}

func TestA20ForgedTokens(t *testing.T) {
	s, other := open(t, nil), "https://"+canary+".example"
	good, err := s.alice.Token.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unsigned := good[:strings.LastIndexByte(good, '.')+1]
	for name, token := range map[string]string{
		"alg none":          claims(t, unsigned, 0, func(m map[string]any) { m["alg"] = "none" }),
		"alg HS256":         claims(t, good, 0, func(m map[string]any) { m["alg"] = "HS256" }),
		"jku":               claims(t, good, 0, func(m map[string]any) { m["jku"] = other }),
		"another kid":       claims(t, good, 0, func(m map[string]any) { m["kid"] = canary }),
		"another issuer":    claims(t, good, 1, func(m map[string]any) { m["iss"] = other }),
		"another audience":  claims(t, good, 1, func(m map[string]any) { m["aud"] = canary }),
		"another subject":   claims(t, good, 1, func(m map[string]any) { m["sub"] = canary }),
		"the operator's":    claims(t, good, 1, func(m map[string]any) { m["scope"] = "aval:operator" }),
		"no signature":      unsigned,
		"no token at all":   canary,
		"half of the token": good[:len(good)/2],
	} {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{"/v1/messages", "/v1/wallets/" + s.wallet.ID, "/v1/events"} {
				a := s.alice.Do(t, "GET", path, token, nil)
				refused(t, a, http.StatusUnauthorized, "token-invalid")
				if bytes.Contains(a.Body, []byte(token)) {
					t.Errorf("the refusal repeats the token: %s", a.Body)
				}
			}
		})
	}
	if a := s.alice.Do(t, "GET", "/v1/messages", good, nil); a.Status != http.StatusOK {
		t.Errorf("the genuine token got %d %s", a.Status, a.Body)
	}
}

func TestA21AnotherClientsObjects(t *testing.T) {
	s := open(t, nil)
	bob := s.enroll("bob")
	sent := s.send("note.v1", map[string]string{"text": canary})
	s.ends(sent.ID, client.Succeeded)
	for path, code := range map[string]string{
		"/v1/messages/" + sent.ID:                   "message-unknown",
		"/v1/messages/" + sent.ID + "/original":     "message-unknown",
		"/v1/messages/" + sent.ID + "/events":       "message-unknown",
		"/v1/wallets/" + s.wallet.ID:                "wallet-unknown",
		"/v1/wallets/" + s.wallet.ID + "/balance":   "wallet-unknown",
		"/v1/clients/" + s.alice.ID:                 "client-unknown",
		"/v1/messages?client=" + s.alice.ID:         "client-unknown",
		"/v1/wallets?owner=" + s.alice.ID:           "client-unknown",
		"/v1/messages?wallet=" + s.wallet.ID + "&x": "",
	} {
		a := bob.Do(t, "GET", path, "", nil)
		if code != "" {
			refused(t, a, http.StatusNotFound, code)
		}
		if bytes.Contains(a.Body, []byte(canary)) || bytes.Contains(a.Body, []byte(s.wallet.Address)) {
			t.Errorf("GET %s told bob of alice's: %s", path, a.Body)
		}
	}
	page, err := bob.List(t.Context(), client.Query{})
	if err != nil || len(page.Messages) != 0 {
		t.Errorf("bob, who has sent nothing, sees %+v, %v", page, err)
	}
	// A message that spends from alice's wallet is bob's own to send; it ends as refused, and the chain shows nothing.
	m, ids := s.draft(bob, "transfer.v1", client.Transfer{Wallet: s.wallet.ID, To: "0x00000000000000000000000000000000000A11cE", Asset: "native", Amount: "1"})
	if a := s.put(bob, m.ID, s.sign(bob, m, ids)); a.Status == http.StatusCreated {
		s.ends(m.ID, client.Failed)
	}
	if paid := s.paid(s.wallet.Address); len(paid) != 0 {
		t.Errorf("the chain shows that bob has spent alice's coin: %v", paid)
	}
}

func TestA22RevokedGrant(t *testing.T) {
	s := open(t, nil)
	id, signed := s.note(s.alice, canary)
	spare, late := s.note(s.alice, canary)
	if _, err := s.operator.Disable(t.Context(), s.alice.ID); err != nil {
		t.Fatal(err)
	}
	refused(t, s.put(s.alice, id, signed), http.StatusForbidden, "client-disabled")
	refused(t, s.alice.Do(t, "GET", "/v1/messages", "", nil), http.StatusForbidden, "client-disabled")
	refused(t, s.alice.Do(t, "POST", "/v1/message-ids", "", []byte(`{"count":1}`)), http.StatusForbidden, "client-disabled")
	if _, err := s.operator.Enable(t.Context(), s.alice.ID); err != nil {
		t.Fatal(err)
	}
	s.untouched(id, signed)
	if _, err := s.operator.SetSigners(t.Context(), s.alice.ID, "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"); err != nil {
		t.Fatal(err)
	}
	refused(t, s.put(s.alice, spare, late), http.StatusForbidden, "signer-unknown")
}
