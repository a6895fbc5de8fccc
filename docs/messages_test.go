package docs_test

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/schemas"
)

// The client's key of the worked example is the one of EIP-712's own: keccak256("cow").
const cow = "cow"

// marked finds the blocks of messages.md under a comment <!-- example: NAME -->.
func marked(t *testing.T) map[string]string {
	t.Helper()
	raw, err := os.ReadFile("messages.md")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	mark := regexp.MustCompile("(?s)<!-- example: ([a-z0-9-]+) -->\n```[a-z]*\n(.*?)\n```")
	for _, m := range mark.FindAllStringSubmatch(string(raw), -1) {
		found[m[1]] = m[2]
	}
	return found
}

// fields reads a block of "name value" lines.
func fields(text string) map[string]string {
	values := map[string]string{}
	for l := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(l), " "); ok {
			values[name] = strings.TrimSpace(value)
		}
	}
	return values
}

// The worked examples are what a client would sign and what Aval would recover.
func TestWorkedExamplesOfMessages(t *testing.T) {
	blocks := marked(t)
	catalog, err := message.NewCatalog(schemas.FS())
	if err != nil {
		t.Fatal(err)
	}
	var domain message.Domain
	if err := json.Unmarshal([]byte(blocks["domain"]), &domain); err != nil {
		t.Fatal(err)
	}
	key := crypto.ToECDSAUnsafe(crypto.Keccak256([]byte(cow)))
	sign := func(digest common.Hash) ([]byte, error) { return crypto.Sign(digest[:], key) }
	for _, scheme := range []message.Scheme{message.EIP712, message.EIP191} {
		t.Run(string(scheme), func(t *testing.T) {
			shown := blocks[string(scheme)]
			v, err := catalog.Verify([]byte(shown), func(string) (message.Domain, error) { return domain, nil })
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{"digest": v.Digest.Hex(), "signer": v.Signer.Hex()}
			if want := fields(blocks[string(scheme)+"-gives"]); !maps.Equal(got, want) {
				t.Errorf("the document says %v, and it is %v", want, got)
			}
			again, err := catalog.Submission(v.Message, scheme, domain, sign)
			if err != nil {
				t.Fatal(err)
			}
			var made, written message.Submission
			if err := json.Unmarshal(again, &made); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(shown), &written); err != nil {
				t.Fatal(err)
			}
			if made.Signature != written.Signature {
				t.Errorf("the signature is %s, the document has %s", made.Signature, written.Signature)
			}
		})
	}
	text, _, err := catalog.Canonical(verified(t, catalog, domain, blocks["eip191"]))
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != blocks["eip191-text"] {
		t.Errorf("the canonical text is\n%s", text)
	}
}

func verified(t *testing.T, catalog *message.Catalog, domain message.Domain, submission string) message.Message {
	t.Helper()
	v, err := catalog.Verify([]byte(submission), func(string) (message.Domain, error) { return domain, nil })
	if err != nil {
		t.Fatal(err)
	}
	return v.Message
}
