package evm

import (
	"strings"
	"testing"
)

// reply is what a node answers to a call that reverts.
type reply struct{ data any }

func (reply) Error() string    { return "execution reverted" }
func (reply) ErrorCode() int   { return 3 }
func (r reply) ErrorData() any { return r.data }

// Nodes put the bytes of a revert in different places, or nowhere.
func TestRevertDataIsFound(t *testing.T) {
	known, err := newVocabulary(nil)
	if err != nil {
		t.Fatal(err)
	}
	n := &Network{errors: known}
	text := "0x08c379a0" + strings.Repeat("0", 62) + "20" + strings.Repeat("0", 63) + "2" + "6e6f" + strings.Repeat("0", 60)
	for _, test := range []struct {
		data any
		want string
	}{
		{text, `the contract says "no"`},
		{"Reverted " + text, `the contract says "no"`},
		{map[string]any{"data": text}, `the contract says "no"`},
		{nil, `the node says "execution reverted"`},
		{"0x", `the node says "execution reverted"`},
		{"nonsense", `the node says "execution reverted"`},
		{12, `the node says "execution reverted"`},
	} {
		if got := n.revertReason(reply{test.data}); got != test.want {
			t.Errorf("%v is told as %q, not %q", test.data, got, test.want)
		}
	}
}

// Whatever a contract says is told in one line of bounded length, and never panics.
func FuzzRevertReason(f *testing.F) {
	known, err := newVocabulary(nil)
	if err != nil {
		f.Fatal(err)
	}
	for selector := range known {
		f.Add(append(selector[:], make([]byte, 96)...))
	}
	f.Add([]byte("\x08\xc3\x79\xa0"))
	f.Add(append([]byte("\x4e\x48\x7b\x71"), make([]byte, 32)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		if got := known.reason(data); len(got) > 1000 || strings.ContainsAny(got, "\n\r") {
			t.Errorf("%x is told as %q", data, got)
		}
	})
}
