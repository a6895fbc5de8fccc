package e2e

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/test/e2e/stage"
)

const approval = `
QueryLanguage: CEL
StartAt: Ask
States:
  Ask:
    Type: Task
    Resource: ask-bank.waitForTaskToken
    Arguments: {token: "{% states.context.Task.Token %}", text: "{% message.body.text %}"}
    TimeoutSeconds: 600
    HeartbeatSeconds: 2
    Assign: {approval: "{% states.result %}"}
    Retry: [{ErrorEquals: [again], IntervalSeconds: 1, MaxAttempts: 1}]
    Catch:
      - {ErrorEquals: [States.HeartbeatTimeout], Next: Silent}
      - {ErrorEquals: [States.ALL], Assign: {failure: "{% states.errorOutput %}"}, Next: Refused}
    Next: Keep
  Keep: {Type: Task, Resource: archive, End: true}
  Silent: {Type: Fail, Error: silent}
  Refused: {Type: Fail, Error: "{% vars.failure.Error %}", Cause: "{% vars.failure.Cause %}"}
`

// patient waits for minutes between heartbeats.
var patient = strings.Replace(approval, "HeartbeatSeconds: 2", "HeartbeatSeconds: 300", 1)

const askBank = `
name: ask-bank
effect: true
targets: {bank: {url: "%s", idempotent: true, key_header: Idempotency-Key}}
request:
  path: /approvals
  body: {token: "{% args.token %}", text: "{% args.text %}"}
`

// bank is another system: it is asked over HTTP, and answers when it likes, as a client of Aval.
type bank struct {
	*stage.Party
	tokens chan string
}

// withBank is an installation whose notes have to be approved by the bank.
func withBank(t *testing.T, workflow string) (*scene, *bank) {
	t.Helper()
	b := &bank{tokens: make(chan string, 100)}
	asked := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Token, Text string }
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.Text == "" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		b.tokens <- in.Token
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{}`))
	}))
	t.Cleanup(asked.Close)
	files := t.TempDir()
	for name, content := range map[string]string{"workflows/note.v1.yaml": workflow, "points/ask-bank.yaml": strings.Replace(askBank, "%s", asked.URL, 1)} {
		path := filepath.Join(files, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, map[string]any{
		"workflows": filepath.Join(files, "workflows"), "control_points": map[string]any{"folder": filepath.Join(files, "points"), "allow": "127.0.0.1"},
	})
	b.Party = s.enroll("bank")
	return s, b
}

// token waits until the bank is asked.
func (b *bank) token(t *testing.T) string {
	t.Helper()
	select {
	case token := <-b.tokens:
		return token
	case <-time.After(patience):
		t.Fatal("the bank was not asked")
		return ""
	}
}

// submit sends a note that has to be approved.
func (s *scene) submit(text string) string {
	s.t.Helper()
	id, signed := s.note(s.alice, text)
	if _, err := s.alice.Submit(s.t.Context(), id, signed); err != nil {
		s.t.Fatal(err)
	}
	return id
}

// waits follows a message until it waits for its answer.
func (s *scene) waits(id string) string {
	s.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		why, err := s.alice.Why(s.t.Context(), id)
		if err == nil && strings.Contains(string(why), "It waits: Ask waits for an answer to its task token since") {
			return string(why)
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s does not wait: %s %v", id, why, err)
		}
	}
}

// fails waits until a message has failed; this workflow archives none that has.
func (s *scene) fails(id string) client.Record {
	s.t.Helper()
	return s.until(id, "failed", func(r client.Record) bool { return r.Status == client.Failed })
}

// TestATaskTokenIsAnswered: the process is killed while the workflow waits, before the answer is stored, and after it is and
// before the message has moved. Nothing gets lost, and the bank is asked once.
func TestATaskTokenIsAnswered(t *testing.T) {
	s, b := withBank(t, patient)
	for _, faults := range []string{
		"", "guarantee.answer.before=kill@1", "guarantee.answer.after=kill@1", "guarantee.commit.before=kill@1", "guarantee.commit.after=kill@1",
	} {
		id := s.submit("approve " + faults)
		token := b.token(t)
		if why := s.waits(id); strings.Contains(why, token) {
			t.Errorf("I25: why shows the token: %s", why)
		}
		if err := b.HeartbeatTask(t.Context(), token); err != nil {
			t.Error(err)
		}
		s.process.Kill()
		if strings.Contains(s.process.Stderr(), token) {
			t.Errorf("I25: the log shows the token: %s", s.process.Stderr())
		}
		s.serveWith(faults)
		err := b.SucceedTask(t.Context(), token, map[string]string{"by": "bank"})
		if faults != "" {
			<-s.process.Done
			if stored := strings.HasPrefix(faults, "guarantee.commit"); err == nil && !stored || !s.process.Killed() {
				t.Fatalf("%s: %v, %v", faults, err, s.process.Err())
			}
			s.serve()
			if strings.HasPrefix(faults, "guarantee.answer.before") {
				s.waits(id)
			}
			err = b.SucceedTask(t.Context(), token, map[string]string{"by": "bank"}) // the same again, whatever became of the first
		}
		if err != nil {
			t.Fatal(err)
		}
		rec := s.ends(id, client.Succeeded)
		if string(rec.Ext) != `{"approval":{"by":"bank"}}` || len(b.tokens) != 0 {
			t.Errorf("%s: it ended with %s; the bank was asked %d times more", faults, rec.Ext, len(b.tokens))
		}
		if err := b.SucceedTask(t.Context(), token, "another"); client.CodeOf(err) != "task-answered" {
			t.Errorf("another answer: %v", err)
		}
	}
}

// TestAHeartbeatMeetsAKill: the process is killed before a heartbeat is stored, and after. The task still waits, hears the next
// one and takes its answer.
func TestAHeartbeatMeetsAKill(t *testing.T) {
	s, b := withBank(t, patient)
	for _, side := range []string{"before", "after"} {
		id := s.submit("killed " + side)
		token := b.token(t)
		s.waits(id)
		s.process.Kill()
		s.serveWith("guarantee.beat." + side + "=kill@1")
		if err := b.HeartbeatTask(t.Context(), token); err == nil {
			t.Errorf("%s: the heartbeat was answered", side)
		}
		if <-s.process.Done; !s.process.Killed() {
			t.Fatalf("%s: %v", side, s.process.Err())
		}
		s.serve()
		s.waits(id)
		if err := b.HeartbeatTask(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		if err := b.SucceedTask(t.Context(), token, side); err != nil {
			t.Fatal(err)
		}
		if rec := s.ends(id, client.Succeeded); string(rec.Ext) != `{"approval":"`+side+`"}` || len(b.tokens) != 0 {
			t.Errorf("%s: it ended with %s; the bank was asked %d times more", side, rec.Ext, len(b.tokens))
		}
	}
}

// TestMissedHeartbeats: heartbeats keep a task waiting, and their absence ends it.
func TestMissedHeartbeats(t *testing.T) {
	s, b := withBank(t, approval)
	id := s.submit("are you there?")
	token := b.token(t)
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for range 8 { // twice as long as it may be silent
		<-tick.C
		if err := b.HeartbeatTask(t.Context(), token); err != nil {
			t.Fatal(err)
		}
	}
	if rec := s.fails(id); rec.State != "Silent" {
		t.Errorf("it ended in %s: %s", rec.State, rec.Reason)
	}
	if err := b.SucceedTask(t.Context(), token, nil); client.CodeOf(err) != "task-over" {
		t.Errorf("an answer that comes too late: %v", err)
	}
}

// TestAnotherAttemptAsksAgain: with a token of its own, through a control point that sends each request once (I5).
func TestAnotherAttemptAsksAgain(t *testing.T) {
	s, b := withBank(t, patient)
	id := s.submit("approve")
	first := b.token(t)
	if err := b.FailTask(t.Context(), first, "again", "ask me later"); err != nil {
		t.Fatal(err)
	}
	second := b.token(t)
	if err := b.SucceedTask(t.Context(), first, nil); client.CodeOf(err) != "task-answered" || first == second {
		t.Errorf("an answer for the first attempt: %v", err)
	}
	if err := b.FailTask(t.Context(), second, "declined", "no money"); err != nil {
		t.Fatal(err)
	}
	if rec := s.fails(id); rec.Reason != "declined: no money" {
		t.Errorf("it ended in %s: %s", rec.State, rec.Reason)
	}
}
