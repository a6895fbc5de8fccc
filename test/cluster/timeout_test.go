//go:build cluster

package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/test/e2e/stage"
	"github.com/avalhq/aval/workflows"
)

// TestI5WhatHasTimedOutIsNotSigned: a workflow gives its state Sign some seconds, and no worker runs. The message ends as failed; a worker
// that is started then, and reads what was asked for, signs nothing, and nobody is paid.
func TestI5WhatHasTimedOutIsNotSigned(t *testing.T) {
	t.Parallel()
	also := pipeline()
	also["workflows"] = impatient(t)
	c := gather(t, place{processes: 1, attempts: 3, payers: 1, also: also, args: []string{"--role", "api,controller,relay,watcher"}})
	m := c.compose(c.payers[0], 0, true)
	c.see(m)
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		rec, err := m.payer.at[0].Get(t.Context(), m.id)
		if err == nil && rec.Status == client.Failed {
			break
		}
		if time.Since(began) > patience {
			t.Fatalf("it is %s, %v: %v\n%s", rec.Status, err, m.failed, c.pending())
		}
	}
	c.join(c.all[0], "signing-worker")
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		told := string((&stage.Party{URL: c.all[1].URL}).Do(t, "GET", "/metrics", "none", nil).Body)
		if strings.Contains(told, `aval_bus_records_total{group="signing-worker",outcome="handled"} 1`) {
			break
		}
		if time.Since(began) > patience {
			t.Fatalf("the worker has read nothing\n%s", c.stderr())
		}
	}
	ledger, err := stage.ReadLedger(t.Context(), c.chain.URL(), m.payer.wallet.Address)
	if err != nil || ledger.Mined() > 0 {
		t.Errorf("%d transactions of the wallet are mined, %v; want none", ledger.Mined(), err)
	}
	said, err := c.all[0].Run(t.Context(), "job", "verify")
	if err != nil || !strings.Contains(strings.Join(strings.Fields(said), " "), "transactions 0 signatures 0") {
		t.Errorf("something was decided: %s, %v", said, err)
	}
}

// impatient are the workflows that ship, but that a transfer has five seconds to be signed.
func impatient(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	if err := os.CopyFS(folder, workflows.FS()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "transfer.v1.yaml")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(raw), "    Resource: sign\n", "    Resource: sign\n    TimeoutSeconds: 5\n", 1)
	text = strings.Replace(text, "[message-expired, policy-denied, client-disabled, insufficient-funds", "[States.Timeout, message-expired, policy-denied, client-disabled, insufficient-funds", 1)
	if strings.Count(text, "States.Timeout") != 1 || !strings.Contains(text, "TimeoutSeconds: 5") {
		t.Fatal("transfer.v1.yaml is not as this test expects it")
	}
	if err = os.Chmod(path, 0o600); err == nil {
		err = os.WriteFile(path, []byte(text), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return folder
}
