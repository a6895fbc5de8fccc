package main

import (
	"github.com/avalhq/aval/internal/bus"
	"github.com/avalhq/aval/internal/custody/sender"
	"github.com/avalhq/aval/internal/custody/verify"
	"github.com/avalhq/aval/internal/lifecycle"
)

// signedServices are the roles that read what was signed. They are only given to processes that share their storage.
func (p *platform) signedServices(group *lifecycle.Group) {
	if p.has(roleSender) {
		s := &sender.Sender{
			Transactions: p.storage.transactions, Lanes: map[string]sender.Lanes{p.chainID: p.keeper}, Codec: p.decoder, Observe: p.metrics.Announced, Log: p.log,
		}
		group.Add("sender", p.consumer(sender.Group, bus.Signed, s.Handle).Run)
	}
	if p.has(roleVerify) {
		p.metrics.Verdicts(verdictWords()...)
		v := verify.New(verify.Ports{Transactions: p.storage.transactions, Keys: p.storage.keys, Verdicts: p.storage.verdicts, Codec: p.decoder},
			verify.Options{Topic: p.pipelined(), Log: p.log, Observe: func(word verify.Word) { p.metrics.Verdict(string(word)) }})
		c := p.consumer(verify.Group, bus.Signed, v.Handle)
		c.Level = v.Level
		group.Add("tx-verify", c.Run)
		group.Add("tx-verify sweep", v.Watch)
	}
}

func verdictWords() (words []string) {
	for _, w := range []verify.Word{verify.Good, verify.Orphan, verify.Double, verify.Altered, verify.Unreadable, verify.Unseen} {
		words = append(words, string(w))
	}
	return words
}

// decoder reads the transactions of the chain that this process serves.
func (p *platform) decoder(id string) (verify.Decoder, error) {
	ch, err := p.chains().Get(id)
	return ch.Codec, err
}

// consumer reads a topic for a group.
func (p *platform) consumer(group, topic string, handle bus.Handler) bus.Consumer {
	p.metrics.Consumes(group)
	return bus.Consumer{
		Bus: p.storage.bus, Parked: p.storage.parked, Group: group, Topics: []string{topic}, Handle: handle, Log: p.log,
		Observe: func(c bus.Consumed) { p.metrics.Consumed(c.Group, c.Records, c.Parked) },
	}
}
