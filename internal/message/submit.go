package message

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/avalhq/aval/internal/problem"
)

// Signer makes the 65-byte signature (r, s, v) of a digest with the client's key; v may be 0, 1, 27 or 28.
type Signer func(digest common.Hash) ([]byte, error)

// TypedData is the document that a wallet signs for m with eth_signTypedData_v4, and its digest.
func (c *Catalog) TypedData(m Message, d Domain) (json.RawMessage, common.Hash, error) {
	t, body, err := c.prepare(m)
	if err != nil {
		return nil, common.Hash{}, err
	}
	if err := checkChain(m.Chain, d); err != nil {
		return nil, common.Hash{}, err
	}
	digest, err := c.typedDigest(d, t, m, body)
	if err != nil {
		return nil, common.Hash{}, err
	}
	for name, v := range envelope(m) {
		body[name] = v
	}
	doc, err := canonicalJSON(map[string]any{"primaryType": t.flat.name, "domain": d, "message": body})
	if err != nil {
		return nil, common.Hash{}, err
	}
	doc = append(doc[:len(doc)-1], `,"types":`...) // the last of the four by name, and the same for all messages of a type
	return append(append(doc, t.typed...), '}'), digest, nil
}

// Canonical is the text that a wallet signs for m with personal_sign: the payload of scheme eip191 in its RFC 8785 form.
func (c *Catalog) Canonical(m Message) (json.RawMessage, common.Hash, error) {
	_, body, err := c.prepare(m)
	if err != nil {
		return nil, common.Hash{}, err
	}
	payload := envelope(m)
	payload["body"] = body
	text, err := canonicalJSON(payload)
	return text, personal(text), err
}

// Submission signs m and builds the document to be sent.
func (c *Catalog) Submission(m Message, scheme Scheme, d Domain, sign Signer) ([]byte, error) {
	build := func() (json.RawMessage, common.Hash, error) { return c.TypedData(m, d) }
	if scheme == EIP191 {
		build = func() (json.RawMessage, common.Hash, error) { return c.Canonical(m) }
	}
	payload, digest, err := build()
	if err != nil {
		return nil, err
	}
	sig, err := sign(digest)
	if err != nil {
		return nil, fmt.Errorf("signing the message: %w", err)
	}
	return Pack(scheme, payload, sig)
}

// Pack builds the document to be sent from a payload that was signed elsewhere, for example by a wallet.
func Pack(scheme Scheme, payload json.RawMessage, sig []byte) ([]byte, error) {
	sig = append([]byte(nil), sig...)
	if len(sig) == 65 && sig[64] < 2 {
		sig[64] += 27
	}
	s := Submission{Scheme: scheme, Payload: payload, Signature: hexutil.Encode(sig)}
	if _, err := parseSignature(s.Signature); err != nil {
		return nil, err
	}
	return json.Marshal(s)
}

// prepare checks what a client is about to sign, as Verify will, and gives the complete body.
func (c *Catalog) prepare(m Message) (*messageType, map[string]any, error) {
	t, err := c.find(m.Type)
	if err != nil {
		return nil, nil, err
	}
	parsed, err := parseStrict(m.Body)
	if err != nil {
		return nil, nil, malformed("the body is not strict JSON: %v", err)
	}
	body, ok := parsed.(map[string]any)
	if !ok {
		return nil, nil, malformed("the body must be an object")
	}
	if err := t.validate(body); err != nil {
		return nil, nil, err
	}
	if m.Expires.Nanosecond() != 0 {
		return nil, nil, problem.New(problem.Invalid, "submission-malformed", "expires must be in whole seconds")
	}
	if _, err := readEnvelope(envelope(m), "message"); err != nil {
		return nil, nil, err
	}
	return t, t.complete(body), nil
}

// envelope is what m says about itself, as JSON has it.
func envelope(m Message) map[string]any {
	return map[string]any{
		"id": string(m.ID), "type": m.Type, "client": m.Client, "chain": m.Chain,
		"expires": json.Number(strconv.FormatInt(m.Expires.Unix(), 10)),
	}
}

// typedDigest is the EIP-712 digest of a message; body has every field.
func (c *Catalog) typedDigest(d Domain, t *messageType, m Message, body map[string]any) (common.Hash, error) {
	values := []any{string(m.ID), m.Type, m.Client, m.Chain, strconv.FormatInt(m.Expires.Unix(), 10)}
	for _, p := range t.body {
		values = append(values, body[p.Name])
	}
	hash, err := t.flat.hash(values)
	if err != nil {
		return common.Hash{}, err
	}
	return c.digest(d, hash)
}
