package server_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/avalhq/aval/internal/auth"
	"github.com/avalhq/aval/internal/guarantee"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/server"
	"github.com/avalhq/aval/internal/server/trial"
)

// asked is a message that waits for an answer, and who may answer.
func asked(t *testing.T, e *trial.Edge) (owner *party, id message.ID, token string) {
	t.Helper()
	owner = newParty(t, e, "alice")
	id, _ = owner.submit("wait for it")
	token, err := e.Ask(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return owner, id, token
}

// holder comes with the scope for tasks alone.
func holder(t *testing.T, e *trial.Edge) *party {
	t.Helper()
	token, _, err := e.Issuer.Mint("bank", auth.Task)
	if err != nil {
		t.Fatal(err)
	}
	p := operator(t, e)
	p.token = token
	return p
}

func TestATaskIsAnsweredOverHTTP(t *testing.T) {
	e := trial.Start(t, stores(t), nil)
	owner, id, token := asked(t, e)
	bank := holder(t, e)
	post := func(path, body string) answer { return bank.call("POST", "/v1/tasks/"+path, []byte(body)) }
	var why guarantee.Why
	owner.get("/v1/messages/"+string(id)+"/why").into(t, 200, &why)
	if !strings.HasPrefix(why.Sentence, "It waits: Ask waits for an answer to its task token since ") || strings.Contains(fmt.Sprint(why), token) {
		t.Errorf("why: %+v", why)
	}
	if a := post("heartbeat", `{"token":"`+token+`"}`); a.status != 204 || len(a.body) != 0 {
		t.Errorf("heartbeat: %d %s", a.status, a.body)
	}
	success := `{"token":"` + token + `","output":{"paid":1.10,"to":123456789012345678901234567890}}`
	for range 2 { // the same again is no error
		if a := post("success", success); a.status != 204 {
			t.Errorf("success: %d %s", a.status, a.body)
		}
	}
	post("success", `{"token":"`+token+`"}`).refused(t, 409, "task-answered")
	post("failure", `{"token":"`+token+`","error":"E"}`).refused(t, 409, "task-answered")
	post("heartbeat", `{"token":"`+token+`"}`).refused(t, 409, "task-answered")
	calls, err := e.Stores.Calls.Open(t.Context(), id)
	if err != nil || len(calls) != 1 || calls[0].Answer == nil || string(calls[0].Answer.Output) != `{"paid":1.10,"to":123456789012345678901234567890}` || calls[0].Answer.By != "bank" {
		t.Errorf("stored: %+v %v", calls, err)
	}
	if err := e.Finish(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	post("heartbeat", `{"token":"avt1_AAAA"}`).refused(t, 404, "task-token-unknown")
	post("heartbeat", `{"token":""}`).refused(t, 422, "request-invalid")
	post("success", `{"token":"`+token+`","output":`+strings.Repeat("[", 70000)+`}`).refused(t, 413, "request-too-large")
}

// TestWhoAnswersTasks: somebody with a token of the issuer besides the task token; and the scope for tasks opens nothing else.
func TestWhoAnswersTasks(t *testing.T) {
	e := trial.Start(t, stores(t), nil)
	owner, id, token := asked(t, e)
	body := []byte(`{"token":"` + token + `"}`)
	nobody := holder(t, e)
	nobody.token = ""
	nobody.call("POST", "/v1/tasks/success", body).refused(t, 401, "token-invalid")
	bank := holder(t, e)
	for _, path := range []string{"/v1/messages", "/v1/messages/" + string(id), "/v1/messages/" + string(id) + "/why", "/v1/counts", "/v1/wallets", "/v1/clients", "/v1/keys"} {
		bank.get(path).refused(t, 403, "scope-missing")
	}
	for _, who := range []*party{owner, newParty(t, e, "mallory"), operator(t, e), bank} { // the task token decides
		if a := who.call("POST", "/v1/tasks/heartbeat", body); a.status != 204 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
}

// TestI25TaskTokensAreNotRepeated: neither by what is answered nor in the log, whatever is wrong with the request.
func TestI25TaskTokensAreNotRepeated(t *testing.T) {
	var mu sync.Mutex
	var log bytes.Buffer
	e := trial.Start(t, stores(t), func(c *server.Config, _ *server.Services) {
		c.Log = slog.New(slog.NewTextHandler(writer(func(b []byte) { mu.Lock(); log.Write(b); mu.Unlock() }), &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	owner, id, token := asked(t, e)
	for _, body := range []string{
		`{"token":["` + token + `"]}`, `{"token":"` + token + `","error":1}`, `{"token":"` + token + `",}`, `{"token":"` + token + `","` + token + `":1}`,
		`{"tokens":"` + token + `"}`, `{"token":"` + token + token + `"}`, `{"token":"` + strings.Repeat(token, 50) + `"}`, `"` + token + `"`, `{"token":"` + token + `","error":"no"}`,
	} {
		if a := owner.call("POST", "/v1/tasks/failure", []byte(body)); bytes.Contains(a.body, []byte(token)) {
			t.Errorf("the answer to %s repeats the token: %s", body, a.body)
		}
	}
	for _, path := range []string{"", "/history", "/why"} {
		if a := owner.get("/v1/messages/" + string(id) + path); bytes.Contains(a.body, []byte(token)) {
			t.Errorf("%s shows the token", path)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if strings.Contains(log.String(), token) || !strings.Contains(log.String(), "/v1/tasks/failure") {
		t.Errorf("the log: %s", log.String())
	}
}
