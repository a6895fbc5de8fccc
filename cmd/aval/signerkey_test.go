package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/avalhq/aval/internal/problem"
)

func TestASignerKeyComesBackAsItWasWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "signer.json")
	k, err := newSignerKey()
	if err != nil {
		t.Fatal(err)
	}
	if err := k.write(path); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v (%v)", info.Mode(), err)
	}
	if got, err := readSignerKey(path); err != nil || got != k {
		t.Errorf("read as %v (%v)", got, err)
	}
	if err := k.write(path); err == nil || problem.From(err).Code != "file-exists" {
		t.Errorf("a key is replaced: %v", err)
	}
}

func TestASignerKeyThatDoesNotFitIsRefusedWithoutShowingIt(t *testing.T) {
	k, err := newSignerKey()
	if err != nil {
		t.Fatal(err)
	}
	other, err := newSignerKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"other address": fmt.Sprintf(`{"address":%q,"private_key":%q}`, other.Address, k.Private),
		"not a key":     fmt.Sprintf(`{"address":%q,"private_key":"0x00"}`, k.Address),
		"raw hex":       k.Private,
	} {
		path := filepath.Join(t.TempDir(), "signer.json")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := readSignerKey(path)
		if err == nil || problem.From(err).Code != "signer-key-malformed" || strings.Contains(err.Error(), k.Private[2:]) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if shown := fmt.Sprintf("%v %+v %s", k, profile{Signer: k}, k); strings.Contains(shown, k.Private[2:]) {
		t.Errorf("the key is printed: %s", shown)
	}
}
