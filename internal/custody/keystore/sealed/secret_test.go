package sealed_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/problem"
)

func TestASecretStaysTheSame(t *testing.T) {
	o := withKeyFile(t)
	o.Faults.Arm("keystore.secret.before", fault.Fail, 1)
	if _, err := open(t, o).Secret(t.Context(), "macs"); err == nil {
		t.Error("a secret that was not written was given out")
	}
	o.Faults.Arm("keystore.secret.after", fault.Fail, 1)
	if _, err := open(t, o).Secret(t.Context(), "macs"); err == nil {
		t.Error("the injected failure was not reported")
	}
	first, err := open(t, o).Secret(t.Context(), "macs")
	if err != nil || len(first) != 32 {
		t.Fatalf("%d bytes, %v", len(first), err)
	}
	again, err := open(t, o).Secret(t.Context(), "macs")
	if err != nil || !bytes.Equal(first, again) {
		t.Errorf("after a restart it is another one, %v", err)
	}
	other, err := open(t, o).Secret(t.Context(), "others")
	if err != nil || bytes.Equal(first, other) {
		t.Errorf("under another name it is the same, %v", err)
	}
	path := filepath.Join(o.Folder, "secrets", "macs.sealed")
	content, err := os.ReadFile(path)
	if err != nil || bytes.Contains(content, first) {
		t.Errorf("I25: the file holds it in clear, %v", err)
	}
	if err := os.Rename(filepath.Join(o.Folder, "secrets", "others.sealed"), path); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, o).Secret(t.Context(), "macs"); problem.From(err).Code != "keystore-damaged" {
		t.Errorf("a file of another name was taken: %v", err)
	}
	if _, err := open(t, o).Secret(t.Context(), "../macs"); problem.From(err).Code != "key-id-malformed" {
		t.Errorf("a name that leads elsewhere was taken: %v", err)
	}
}
