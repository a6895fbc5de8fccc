package message

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/avalhq/aval/internal/problem"
)

// Verify turns the bytes of a Submission into a Verified message, or refuses them: what is not strict JSON, not exactly
// the typed data of the message's type and domain (A4), signed by another scheme than it says (A5), outside of the
// type's schema, or signed in another form than the one accepted (A3, A6). A refusal names the field and the rule and
// never repeats a value. Every refusal but amount-absurd (422, A24) is a 400. domain says which domain the installation
// has for a chain; its errors are passed on.
//
// The Body that comes out says what was signed in one way, whatever way the client wrote it: every property is there, those
// left out with their defaults; addresses are in EIP-55 notation and bytes in lower case. Original keeps what was sent.
//
// Not decided here: whether the id was issued, whether it has expired, whether the signer may speak for the client.
func (c *Catalog) Verify(original []byte, domain func(chain string) (Domain, error)) (Verified, error) {
	s, err := openSubmission(original)
	if err != nil {
		return Verified{}, err
	}
	signature, err := parseSignature(s.signature)
	if err != nil {
		return Verified{}, err
	}
	m, t, body, err := c.open(s)
	if err != nil {
		return Verified{}, err
	}
	d, err := domain(m.Chain)
	if err != nil {
		return Verified{}, err
	}
	if err := checkChain(m.Chain, d); err != nil {
		return Verified{}, err
	}
	if s.scheme == EIP712 {
		if err := t.checkTyped(s.payload, d); err != nil {
			return Verified{}, err
		}
	}
	if err := t.validate(body); err != nil {
		return Verified{}, err
	}
	digest, err := c.digestOf(s, d, t, m, body)
	if err != nil {
		return Verified{}, malformed("the payload: %v", err)
	}
	signer, err := signature.recover(digest)
	if err != nil {
		return Verified{}, err
	}
	if m.Body, err = canonicalJSON(t.complete(body)); err != nil {
		return Verified{}, err
	}
	return Verified{Message: m, Scheme: s.scheme, Digest: digest, Signer: signer, Original: slices.Clone(original)}, nil
}

// opened is a submission's outer layer.
type opened struct {
	scheme    Scheme
	payload   map[string]any
	signature string
}

func openSubmission(original []byte) (opened, error) {
	doc, err := parseStrict(original)
	if err != nil {
		return opened{}, malformed("the submission is not strict JSON: %v", err)
	}
	fields, ok := doc.(map[string]any)
	if !ok {
		return opened{}, malformed("the submission must be an object")
	}
	if err := exactKeys(fields, "scheme", "payload", "signature"); err != nil {
		return opened{}, malformed("the submission %v", err)
	}
	payload, ok := fields["payload"].(map[string]any)
	if !ok {
		return opened{}, malformed("payload must be an object")
	}
	signature, ok := fields["signature"].(string)
	if !ok {
		return opened{}, malformed("signature must be a string")
	}
	scheme, _ := fields["scheme"].(string)
	if s := Scheme(scheme); s != EIP712 && s != EIP191 {
		return opened{}, problem.New(problem.Invalid, "scheme-unknown", "scheme must be %q or %q", EIP712, EIP191)
	}
	return opened{scheme: Scheme(scheme), payload: payload, signature: signature}, nil
}

// open finds the message in the payload: a plain one for EIP-191, in a typed-data document for EIP-712.
func (c *Catalog) open(s opened) (Message, *messageType, map[string]any, error) {
	_, typed := s.payload["primaryType"]
	if typed != (s.scheme == EIP712) {
		return Message{}, nil, nil, problem.New(problem.Invalid, "scheme-mismatch",
			"the payload is not of the scheme that the submission names: eip712 has a typed-data document, eip191 the message itself")
	}
	envelope, at := s.payload, "payload"
	if typed {
		if err := exactKeys(s.payload, "types", "primaryType", "domain", "message"); err != nil {
			return Message{}, nil, nil, malformed("payload %v", err)
		}
		var ok bool
		if envelope, ok = s.payload["message"].(map[string]any); !ok {
			return Message{}, nil, nil, malformed("payload.message must be an object")
		}
		at = "payload.message"
	}
	m, err := readEnvelope(envelope, at)
	if err != nil {
		return Message{}, nil, nil, err
	}
	t, err := c.find(m.Type)
	if err != nil {
		return Message{}, nil, nil, err
	}
	if typed {
		return m, t, bodyOf(envelope), nil
	}
	if err := exactKeys(envelope, "id", "type", "client", "chain", "expires", "body"); err != nil {
		return Message{}, nil, nil, malformed("payload %v", err)
	}
	body, ok := envelope["body"].(map[string]any)
	if !ok {
		return Message{}, nil, nil, malformed("payload.body must be an object")
	}
	return m, t, body, nil
}

// bodyOf is the flat struct without the envelope's members.
func bodyOf(flat map[string]any) map[string]any {
	body := make(map[string]any, len(flat))
	for name, v := range flat {
		body[name] = v
	}
	for _, f := range envelopeFields() {
		delete(body, f.Name)
	}
	return body
}

// lastSecond is the end of the year 9999, the last that RFC 3339 can write.
const lastSecond = 253402300799

var clientID = regexp.MustCompile(`^[!-~]{1,128}$`)

func readEnvelope(fields map[string]any, at string) (Message, error) {
	text := func(name string) string { s, _ := fields[name].(string); return s }
	m := Message{Type: text("type"), Client: text("client"), Chain: text("chain")}
	for _, f := range envelopeFields() {
		if _, ok := fields[f.Name]; !ok {
			return m, malformed("%s.%s is missing", at, f.Name)
		}
	}
	id, err := ParseID(text("id"))
	if err != nil {
		return m, err
	}
	m.ID = id
	if !clientID.MatchString(m.Client) {
		return m, malformed("%s.client must be the client's id: 1 to 128 characters of ASCII without spaces", at)
	}
	if !caip2.MatchString(m.Chain) {
		return m, malformed("%s.chain must be a CAIP-2 id, for example eip155:1", at)
	}
	seconds, err := readUint(fields["expires"])
	if err != nil || seconds == 0 || seconds > lastSecond {
		return m, malformed("%s.expires must be a time in whole seconds since 1970", at)
	}
	m.Expires = time.Unix(int64(seconds), 0).UTC()
	return m, nil
}

// alike says whether two values of strict JSON are made of the same objects, arrays and strings; what else there is is not the same.
func alike(a, b any) bool {
	switch a := a.(type) {
	case string:
		b, is := b.(string)
		return is && a == b
	case []any:
		b, is := b.([]any)
		return is && slices.EqualFunc(a, b, alike)
	case map[string]any:
		b, is := b.(map[string]any)
		return is && maps.EqualFunc(a, b, alike)
	}
	return false
}

// checkTyped compares a typed-data document with the one that the message type and the domain ask for (A4, A5).
func (t *messageType) checkTyped(payload map[string]any, d Domain) error {
	types, _ := payload["types"].(map[string]any)
	if err := exactKeys(types, domainType, t.flat.name); err != nil {
		return mismatch("types", err.Error())
	}
	for name, want := range t.types {
		if !alike(types[name], want) {
			return mismatch("types."+name, "is not the struct of the message type")
		}
	}
	if payload["primaryType"] != t.flat.name {
		return mismatch("primaryType", "is not the struct of the message type")
	}
	if err := checkDomain(payload["domain"], d); err != nil {
		return err
	}
	names := make([]string, len(t.flat.fields))
	for i, f := range t.flat.fields {
		names[i] = f.Name
	}
	if err := exactKeys(payload["message"].(map[string]any), names...); err != nil {
		return mismatch("message", err.Error())
	}
	return nil
}

func (c *Catalog) digestOf(s opened, d Domain, t *messageType, m Message, body map[string]any) (common.Hash, error) {
	if s.scheme == EIP191 {
		text, err := canonicalJSON(s.payload)
		return personal(text), err
	}
	return c.typedDigest(d, t, m, body)
}

// exactKeys says which key is missing, or is there and unknown.
func exactKeys(fields map[string]any, names ...string) error {
	for _, name := range names {
		if _, ok := fields[name]; !ok {
			return fmt.Errorf("lacks the field %s", quote(name))
		}
	}
	if len(fields) == len(names) {
		return nil
	}
	unknown := ""
	for name := range fields {
		if !slices.Contains(names, name) && (unknown == "" || name < unknown) {
			unknown = name
		}
	}
	return fmt.Errorf("has the unknown field %s", quote(unknown))
}

func malformed(format string, args ...any) error {
	return problem.New(problem.Invalid, "submission-malformed", format, args...)
}
