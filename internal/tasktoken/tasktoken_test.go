package tasktoken_test

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/tasktoken"
)

func maker(t *testing.T, fill byte) *tasktoken.Maker {
	t.Helper()
	m, err := tasktoken.New(bytes.Repeat([]byte{fill}, tasktoken.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestATokenIsReadBackByItsKeyAlone(t *testing.T) {
	ours, theirs := maker(t, 1), maker(t, 2)
	rapid.Check(t, func(t *rapid.T) {
		c := tasktoken.Call{
			Message: message.ID(rapid.String().Draw(t, "message")), State: rapid.String().Draw(t, "state"), Number: rapid.IntRange(0, 1<<40).Draw(t, "number"),
		}
		token := ours.Make(c)
		if got, ok := ours.Read(token); !ok || got != c {
			t.Fatalf("%+v came back as %+v, %v", c, got, ok)
		}
		if ours.Make(c) != token {
			t.Fatal("made again, it is another one")
		}
		if _, ok := theirs.Read(token); ok {
			t.Fatal("another key took it")
		}
		at := rapid.IntRange(0, len(token)-1).Draw(t, "at")
		changed := token[:at] + string(rapid.SampledFrom([]byte("AZ09-_")).Draw(t, "as")) + token[at+1:]
		if _, ok := ours.Read(changed); ok && changed != token {
			t.Fatalf("%s was taken, changed to %s", token, changed)
		}
	})
}

func TestOtherTextIsNoToken(t *testing.T) {
	m := maker(t, 1)
	good := m.Make(tasktoken.Call{Message: "msg_1", State: "Ask", Number: 1})
	for _, text := range []string{"", "avt1_", "avt1_AAAA", good[:len(good)-1], good + "A", " " + good, strings.TrimPrefix(good, "avt1_"), "avt1_" + strings.Repeat("A", 43)} {
		if c, ok := m.Read(text); ok {
			t.Errorf("%q was read as %+v", text, c)
		}
	}
}

func TestAKeyOfAnotherLengthIsRefused(t *testing.T) {
	for _, n := range []int{0, 16, 33} {
		if _, err := tasktoken.New(make([]byte, n)); err == nil {
			t.Errorf("a key of %d bytes was taken", n)
		}
	}
}
