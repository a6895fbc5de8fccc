package signer

import (
	"encoding/json"
	"fmt"

	"github.com/avalhq/aval/internal/bus"
	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
)

// What the topics of transactions carry. A record of transactions.unsigned names a step and no more: what is signed stands in the
// committed request (A28). A record of transactions.signed has the decision and the signed bytes.

// unsigned is the value of a record of transactions.unsigned.
type unsigned struct {
	Message message.ID `json:"message"`
	State   string     `json:"state"`
}

// signed is the value of a record of transactions.signed.
type signed struct {
	unsigned
	Chain string `json:"chain"`
	Key   string `json:"key"`
	From  string `json:"from"`
	Nonce uint64 `json:"nonce"`
	Hash  string `json:"hash"`
	Raw   []byte `json:"raw"` // base64
}

// ErrRecord says that a record of a topic cannot be read.
var ErrRecord = problem.New(problem.Invalid, "record-malformed", "the record cannot be read")

// UnsignedRecord announces an open request. Those of one key are kept in order, those of a pool go to any worker.
func UnsignedRecord(o Open) (bus.Record, error) {
	order := o.Key
	if order == "" {
		order = o.Pool + "/" + string(o.Step.Message)
	}
	value, err := json.Marshal(unsigned{o.Step.Message, o.Step.State})
	return bus.Record{Topic: bus.Unsigned, Key: order, Value: value}, err
}

// ReadUnsigned gives the step that a record of transactions.unsigned names.
func ReadUnsigned(r bus.Record) (Step, error) {
	var u unsigned
	if err := json.Unmarshal(r.Value, &u); err != nil {
		return Step{}, unreadable(r, err)
	}
	if u.Message == "" || u.State == "" {
		return Step{}, unreadable(r, fmt.Errorf("it names no message and state"))
	}
	return Step(u), nil
}

// SignedRecord announces stored bytes. Those of one key are kept in order.
func SignedRecord(d Decision) (bus.Record, error) {
	value, err := json.Marshal(signed{unsigned{d.Step.Message, d.Step.State}, d.Chain, d.Key, d.Tx.From, d.Nonce, d.Signed.Hash, d.Signed.Raw})
	return bus.Record{Topic: bus.Signed, Key: d.Key, Value: value}, err
}

// ReadSigned gives what a record of transactions.signed says was decided and signed: of the transaction the sender alone, the rest
// is in the bytes.
func ReadSigned(r bus.Record) (Decision, error) {
	var s signed
	if err := json.Unmarshal(r.Value, &s); err != nil {
		return Decision{}, unreadable(r, err)
	}
	if s.Message == "" || s.State == "" || s.Hash == "" || len(s.Raw) == 0 {
		return Decision{}, unreadable(r, fmt.Errorf("it lacks a message, a state, a hash or bytes"))
	}
	return Decision{
		Step: Step{s.Message, s.State}, Key: s.Key, Chain: s.Chain, Nonce: s.Nonce,
		Tx: chain.Unsigned{Chain: s.Chain, From: s.From}, Signed: chain.Signed{Hash: s.Hash, Raw: s.Raw},
	}, nil
}

func unreadable(r bus.Record, why error) error {
	return problem.New(ErrRecord.Kind, ErrRecord.Code, "the record %d of partition %d of %s cannot be read: %w", r.Offset, r.Partition, r.Topic, why)
}
