package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/auth"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/server"
	"github.com/avalhq/aval/internal/server/trial"
	"github.com/avalhq/aval/internal/typeid"
)

// endpoint is an operation of the OpenAPI document.
type endpoint struct {
	method, path string
	scopes       []string
	stream       bool
	queries      []string
}

func (e endpoint) String() string { return e.method + " " + e.path }

// endpoints are all of them, so that one that is added is tested without being mentioned here.
func endpoints(t *testing.T, s *server.Server) []endpoint {
	t.Helper()
	var doc struct {
		Paths map[string]map[string]struct {
			Security   []map[string][]string
			Parameters []struct{ Name, In string }
			Responses  map[string]struct{ Content map[string]any }
		}
	}
	if err := json.Unmarshal(s.OpenAPI(), &doc); err != nil {
		t.Fatal(err)
	}
	var all []endpoint
	for path, methods := range doc.Paths {
		for method, op := range methods {
			e := endpoint{method: strings.ToUpper(method), path: path}
			for _, alternative := range op.Security {
				e.scopes = append(e.scopes, alternative["bearer"]...)
			}
			_, e.stream = op.Responses["200"].Content["text/event-stream"]
			for _, p := range op.Parameters {
				if p.In == "query" {
					e.queries = append(e.queries, p.Name)
				}
			}
			all = append(all, e)
		}
	}
	if len(all) < 25 {
		t.Fatalf("the document has only %d operations", len(all))
	}
	return all
}

// possessions are what a client has that another one must not see, by the collection that a path begins with.
type possessions map[string]string

// own makes one of everything for a client.
func own(t *testing.T, p *party) possessions {
	t.Helper()
	id, _ := p.submit("the secret plan of " + p.id)
	var w server.Wallet
	p.call("POST", "/v1/wallets", []byte(`{"name":"main"}`)).into(t, http.StatusCreated, &w)
	return possessions{"messages": string(id), "wallets": w.ID, "clients": p.id, "keys": w.Key, "types": "note.v1", "workflows": "note.v1", "transactions": w.Key + ":7"}
}

// strangers are well-formed ids of things that do not exist.
func strangers() possessions {
	return possessions{"messages": string(message.NewID()), "wallets": typeid.New("wal"), "clients": typeid.New("cli"), "keys": typeid.New("key"), "types": "nothing.v1", "workflows": "nothing.v1", "transactions": typeid.New("key") + ":7"}
}

// at is the endpoint's path with the id of the thing that it is about.
func (e endpoint) at(t *testing.T, things possessions) string {
	t.Helper()
	before, after, found := strings.Cut(e.path, "{")
	if !found {
		return e.path
	}
	_, after, _ = strings.Cut(after, "}")
	thing, known := things[strings.Trim(strings.TrimPrefix(before, "/v1"), "/")]
	if !known || strings.Contains(after, "{") {
		t.Fatalf("%s: this test does not know what stands between the braces; add it to possessions", e)
	}
	return before + thing + after
}

// bodies are what the operations that need one are sent.
func (e endpoint) body(p *party, things possessions) []byte {
	switch {
	case strings.HasSuffix(e.path, "/park"):
		return []byte(`{"reason":"because"}`)
	case strings.HasSuffix(e.path, "/signers"):
		return []byte(`{"signers":["0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"]}`)
	case e.String() == "PUT /v1/messages/{id}":
		return p.note(server.Issued{ID: message.ID(things["messages"]), Expires: time.Now().Add(time.Hour)}, "stolen")
	case e.String() == "POST /v1/clients":
		return []byte(`{"name":"another","signers":["0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"]}`)
	case strings.HasSuffix(e.path, "/versions"):
		return []byte(`{"source":"{StartAt: Done, States: {Done: {Type: Succeed}}}"}`)
	case strings.HasSuffix(e.path, "/migrate"):
		return []byte(`{"from":"0","to":"1"}`)
	case strings.HasSuffix(e.path, "/alias"):
		return []byte(`{"routes":[]}`)
	case e.String() == "POST /v1/wallets":
		return []byte(`{"name":"another"}`)
	}
	return nil
}

// TestA21TwoClients asks every endpoint as bob for what is alice's. The answer has to be that for what does not exist (A7).
func TestA21TwoClients(t *testing.T) {
	e := trial.Start(t, stores(t), nil)
	alice, bob := newParty(t, e, "alice"), newParty(t, e, "bob")
	hers := own(t, alice)
	for _, ep := range endpoints(t, e.Server) {
		t.Run(strings.ReplaceAll(ep.String(), "/", "_"), func(t *testing.T) {
			if !strings.Contains(ep.path, "{") || strings.Contains(ep.path, "/types/") {
				return // see TestA21Collections
			}
			nothing := strangers()
			got := bob.call(ep.method, ep.at(t, hers), ep.body(bob, hers)).problem(t)
			want := bob.call(ep.method, ep.at(t, nothing), ep.body(bob, nothing)).problem(t)
			got.Instance, want.Instance = "", ""
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("for alice's: %+v\nfor nobody's: %+v", got, want)
			}
			status := http.StatusNotFound
			if !slices.Contains(ep.scopes, auth.Client) {
				status = http.StatusForbidden
			}
			if got.Status != status {
				t.Errorf("bob got %d, want %d: %s", got.Status, status, got.Detail)
			}
		})
	}
	var still server.Message
	alice.get("/v1/messages/"+hers["messages"]).into(t, 200, &still)
	if still.Version != 1 {
		t.Errorf("bob has moved alice's message: %+v", still)
	}
}

// TestA21Collections lists as bob, also naming alice in every parameter that there is: nothing of hers may be in an answer.
func TestA21Collections(t *testing.T) {
	e := trial.Start(t, stores(t), nil)
	alice, bob := newParty(t, e, "alice"), newParty(t, e, "bob")
	live := alice.follow("/v1/events", "")
	live.next()
	hers := own(t, alice)
	delete(hers, "types") // everyone may know of them
	delete(hers, "workflows")
	live.until(func(f frame) bool { return string(f.message(t).ID) == hers["messages"] }) // it is in Reference
	for _, ep := range endpoints(t, e.Server) {
		if ep.method != "GET" || ep.stream || strings.Contains(ep.path, "{") {
			continue
		}
		paths := []string{ep.path}
		for _, name := range ep.queries {
			for _, thing := range hers {
				paths = append(paths, ep.path+"?"+name+"="+thing)
			}
		}
		for _, path := range paths {
			a := bob.get(path)
			for kind, thing := range hers {
				if strings.Contains(string(a.body), thing) {
					t.Errorf("GET %s told bob of alice's %s: %s", path, kind, a.body)
				}
			}
			if a.status >= 500 {
				t.Errorf("GET %s: got %d %s", path, a.status, a.body)
			}
		}
	}
	bob.get("/v1/messages?client="+alice.id).refused(t, http.StatusNotFound, "client-unknown")
	bob.get("/v1/wallets?owner="+alice.id).refused(t, http.StatusNotFound, "client-unknown")
	bob.call("POST", "/v1/wallets", []byte(`{"name":"x","owner":"`+alice.id+`"}`)).refused(t, http.StatusNotFound, "client-unknown")
}

func TestA7AnotherClientsMessageID(t *testing.T) {
	e := trial.Start(t, stores(t), nil)
	alice, bob := newParty(t, e, "alice"), newParty(t, e, "bob")
	hers := alice.issue()
	path := "/v1/messages/" + string(hers.ID)
	bob.call("PUT", path, bob.note(hers, "signed by bob for bob")).refused(t, http.StatusNotFound, "message-unknown")
	bob.call("PUT", path, alice.note(hers, "alice's own, carried by bob")).refused(t, http.StatusNotFound, "message-unknown")
	if a := alice.call("PUT", path, alice.note(hers, "alice's own")); a.status != http.StatusCreated {
		t.Errorf("alice could not use her id any more: %d %s", a.status, a.body)
	}
}

func TestEveryEndpointAsksWhoCalls(t *testing.T) {
	e := trial.Start(t, stores(t), nil)
	alice := newParty(t, e, "alice")
	hers := own(t, alice)
	scopeless, _, err := e.Issuer.Mint(alice.id, "openid")
	if err != nil {
		t.Fatal(err)
	}
	for _, ep := range endpoints(t, e.Server) {
		if len(ep.scopes) == 0 {
			t.Errorf("%s has no security", ep)
		}
		nobody := *alice
		nobody.token = ""
		a := nobody.call(ep.method, ep.at(t, hers), ep.body(alice, hers))
		a.refused(t, http.StatusUnauthorized, "token-invalid")
		if !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer ") {
			t.Errorf("%s: a 401 without WWW-Authenticate", ep)
		}
		nobody.token = scopeless
		nobody.call(ep.method, ep.at(t, hers), ep.body(alice, hers)).refused(t, http.StatusForbidden, "scope-missing")
	}
}

// A client that is disabled, or was never registered, is out at once, with a token that is still good.
func TestA22RevokedGrant(t *testing.T) {
	e := trial.Start(t, stores(t), nil)
	alice, op := newParty(t, e, "alice"), operator(t, e)
	hers := own(t, alice)
	spare := alice.issue()
	op.call("POST", "/v1/clients/"+alice.id+"/disable", nil)
	for _, ep := range endpoints(t, e.Server) {
		alice.call(ep.method, ep.at(t, hers), ep.body(alice, hers)).refused(t, http.StatusForbidden, "client-disabled")
	}
	op.call("POST", "/v1/clients/"+alice.id+"/enable", nil)
	if a := alice.get("/v1/counts"); a.status != 200 {
		t.Errorf("enabled again: got %d %s", a.status, a.body)
	}
	op.call("PUT", "/v1/clients/"+alice.id+"/signers", []byte(`{"signers":["0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"]}`))
	alice.call("PUT", "/v1/messages/"+string(spare.ID), alice.note(spare, "by a signer that was removed")).refused(t, http.StatusForbidden, "signer-unknown")
	stranger := *alice
	var err error
	if stranger.token, _, err = e.Issuer.Mint(typeid.New("cli"), auth.Client); err != nil {
		t.Fatal(err)
	}
	stranger.get("/v1/counts").refused(t, http.StatusForbidden, "client-unregistered")
}

func TestA20AtTheEdge(t *testing.T) {
	e := trial.Start(t, stores(t), nil)
	p := newParty(t, e, "alice")
	good := p.token
	for name, token := range map[string]string{
		"cut": good[:len(good)-2], "no signature": good[:strings.LastIndexByte(good, '.')+1], "not a token": "hunter2", "padded": good + "=",
	} {
		p.token = token
		a := p.get("/v1/counts")
		a.refused(t, http.StatusUnauthorized, "token-invalid")
		if strings.Contains(string(a.body), token) {
			t.Errorf("%s: the refusal repeats the token", name)
		}
	}
	r := p.request(t.Context(), "GET", "/v1/counts", nil)
	r.Header.Set("Authorization", "Basic "+good)
	do(t, r).refused(t, http.StatusUnauthorized, "token-invalid")
}

func TestClientsAreRegisteredByOperators(t *testing.T) {
	e := trial.Start(t, stores(t), nil)
	op := operator(t, e)
	var c server.Client
	op.call("POST", "/v1/clients", []byte(`{"name":"shop","signers":["0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"]}`)).into(t, 201, &c)
	if c.Secret == "" || len(c.Signers) != 1 || c.Disabled {
		t.Fatalf("got %+v", c)
	}
	var again server.Client
	op.get("/v1/clients/"+c.ID).into(t, 200, &again)
	if again.Secret != "" {
		t.Error("the secret is told a second time")
	}
	shop := &party{t: t, edge: e, id: c.ID}
	r := shop.request(t.Context(), "POST", "/oauth/token", []byte("grant_type=client_credentials"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(c.ID, c.Secret)
	var token struct {
		AccessToken string `json:"access_token"`
	}
	do(t, r).into(t, 200, &token)
	shop.token = token.AccessToken
	var self server.Client
	shop.get("/v1/clients/"+c.ID).into(t, 200, &self)
	if self.Name != "shop" {
		t.Errorf("got %+v", self)
	}
	for signer, code := range map[string]string{
		"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1Beaed": "address-checksum", "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed": "address-malformed",
		"0x0000000000000000000000000000000000000000": "signer-zero",
	} {
		op.call("PUT", "/v1/clients/"+c.ID+"/signers", []byte(`{"signers":["`+signer+`"]}`)).refused(t, 400, code)
	}
	op.call("POST", "/v1/clients", []byte(`{"name":"rival","signers":["0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"]}`)).refused(t, http.StatusConflict, "signer-taken")
	var register server.ClientList
	op.get("/v1/clients").into(t, 200, &register)
	if !slices.ContainsFunc(register.Clients, func(other server.Client) bool { return other.ID == c.ID }) {
		t.Errorf("the register does not have %s: %+v", c.ID, register)
	}
}

func TestWallets(t *testing.T) {
	e := trial.Start(t, stores(t), nil)
	p, op := newParty(t, e, "alice"), operator(t, e)
	var first, again, second server.Wallet
	p.call("POST", "/v1/wallets", []byte(`{"name":"main"}`)).into(t, 201, &first)
	p.call("POST", "/v1/wallets", []byte(`{"name":"main","chain":"eip155:1337"}`)).into(t, 201, &again)
	op.call("POST", "/v1/wallets", []byte(`{"name":"other","owner":"`+p.id+`"}`)).into(t, 201, &second)
	if first != again || first.Owner != p.id || first.Address == "" || second.Owner != p.id || second.ID == first.ID {
		t.Fatalf("got %+v, again %+v, by the operator %+v", first, again, second)
	}
	var balance server.Balance
	p.get("/v1/wallets/"+first.ID+"/balance").into(t, 200, &balance)
	if balance != (server.Balance{Wallet: first.ID, Asset: "native", Amount: "1000"}) {
		t.Errorf("got %+v", balance)
	}
	var page server.WalletPage
	p.get("/v1/wallets?limit=1").into(t, 200, &page)
	if len(page.Wallets) != 1 || page.Wallets[0] != first || page.Next == "" {
		t.Fatalf("got %+v", page)
	}
	p.get("/v1/wallets?limit=1&cursor="+page.Next).into(t, 200, &page)
	if len(page.Wallets) != 1 || page.Wallets[0] != second {
		t.Errorf("got %+v", page)
	}
	p.call("POST", "/v1/wallets", []byte(`{"name":"x","chain":"eip155:1"}`)).refused(t, 422, "chain-unknown")
	op.call("POST", "/v1/wallets", []byte(`{"name":"x"}`)).refused(t, 400, "owner-missing")
}

func TestKeys(t *testing.T) {
	e := trial.Start(t, stores(t), nil)
	p, op := newParty(t, e, "alice"), operator(t, e)
	hers := own(t, p)
	var list server.KeyList
	op.get("/v1/keys").into(t, 200, &list)
	if len(list.Keys) != 1 || list.Keys[0].ID != hers["keys"] || list.Keys[0].Status != "free" {
		t.Fatalf("got %+v", list)
	}
	op.call("POST", "/v1/keys/"+hers["keys"]+"/reconcile", nil).refused(t, http.StatusConflict, "key-not-quarantined")
	op.call("POST", "/v1/keys/"+typeid.New("key")+"/reconcile", nil).refused(t, http.StatusNotFound, "key-unknown")
}

// TestAVerdictIsWhole: an attempt is said with its block, and something foreign without one.
func TestAVerdictIsWhole(t *testing.T) {
	op := operator(t, trial.Start(t, stores(t), nil))
	for body, code := range map[string]string{
		`{"hash": "0x01", "reason": "seen"}`:                              "verdict-incomplete",
		`{"foreign": true, "block": 7, "reason": "seen"}`:                 "verdict-incomplete",
		`{"foreign": true, "hash": "0x01", "block": 7, "reason": "seen"}`: "verdict-incomplete",
		`{"hash": "0x01", "block": 7, "reason": "seen"}`:                  "transaction-unknown",
	} {
		status := http.StatusBadRequest
		if code == "transaction-unknown" {
			status = http.StatusNotFound
		}
		op.call("POST", "/v1/transactions/"+typeid.New("key")+":1/resolve", []byte(body)).refused(t, status, code)
	}
}

// TestOnlyAnOperatorTrustsAKeyAgain: with the number of nonces that the chain shows, and a reason, which is kept.
func TestOnlyAnOperatorTrustsAKeyAgain(t *testing.T) {
	all := stores(t)
	e := trial.Start(t, all, nil)
	p, op := newParty(t, e, "alice"), operator(t, e)
	id := own(t, p)["keys"]
	path := "/v1/keys/" + id
	say := []byte(`{"spent": 3, "reason": "the old system"}`)
	op.call("POST", path+"/acknowledge", say).refused(t, http.StatusConflict, "key-not-acknowledged") // it is trusted
	for _, nonce := range []uint64{0, 3} {
		if err := all.Keys.Reconcile(t.Context(), id, nonce); (err == nil) != (nonce == 0) {
			t.Fatal(err)
		}
	}
	op.call("POST", path+"/reconcile", nil).refused(t, http.StatusConflict, "key-foreign-use")
	p.call("POST", path+"/acknowledge", say).refused(t, http.StatusForbidden, "scope-missing")
	op.call("POST", path+"/acknowledge", []byte(`{"spent": 2, "reason": "a guess"}`)).refused(t, http.StatusConflict, "key-not-acknowledged")
	op.call("POST", path+"/acknowledge", []byte(`{"spent": 3, "reason": ""}`)).refused(t, http.StatusUnprocessableEntity, "request-invalid")
	op.call("POST", "/v1/keys/"+typeid.New("key")+"/acknowledge", say).refused(t, http.StatusNotFound, "key-unknown")
	var k server.Key
	op.call("POST", path+"/acknowledge", say).into(t, 200, &k)
	var entries server.KeyEntries
	op.get(path+"/entries").into(t, 200, &entries)
	if k.Status != "free" || k.Nonce != 3 || len(entries.Entries) != 2 || entries.Entries[1].Why != "the old system" || entries.Entries[1].By == "aval" || entries.Entries[1].Spent != 3 {
		t.Errorf("the key is %+v, its entries %+v", k, entries)
	}
}
