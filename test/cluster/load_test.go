//go:build cluster

package cluster

import (
	"context"
	"encoding/binary"
	"strconv"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/avalhq/aval/client"
	"github.com/avalhq/aval/test/e2e/stage"
)

// sent is what a client writes down of a message.
type sent struct {
	number   uint64
	at       int // the process that it was first handed to
	payer    payer
	to       common.Address // nobody else is paid there; none for a note
	amount   string
	id       string
	signed   []byte
	began    time.Time     // when it was first handed over
	answered time.Time     // when a 2xx came back; zero: none did
	by       int           // the process that it came from
	failed   error         // why not
	took     time.Duration // until it had ended, by the clock of who ended it; once read
}

// load submits from every payer to every process until the func given is called, which returns when all are answered.
func (c *crowd) load() (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.t.Context()))
	var all sync.WaitGroup
	for i := range c.payers {
		for at := range c.payers[i].at {
			all.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					c.submit(c.payers[i], at, n%2 == 0)
					time.Sleep(c.pause) // the load, not a wait
				}
			})
		}
	}
	return func() { cancel(); all.Wait() }
}

// submit hands over one message.
func (c *crowd) submit(p payer, at int, pays bool) {
	c.see(c.compose(p, at, pays))
}

// see sees a message through to its answer.
func (c *crowd) see(m *sent) {
	p, at := m.payer, m.at
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.t.Context()), 2*patience)
	defer cancel()
	for tries := 0; ; tries++ {
		by := (at + tries) % len(p.at)
		err := c.once(ctx, p.at[by], m)
		c.note(m, by, err)
		if err == nil || !c.strays || !stage.Gone(err) || ctx.Err() != nil {
			return
		}
		if (tries+1)%len(p.at) == 0 {
			time.Sleep(50 * time.Millisecond) // no process answers: a client waits before it asks them all again
		}
	}
}

// note writes down what a client was told.
func (c *crowd) note(m *sent, by int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m.failed = err; err == nil {
		m.answered, m.by = time.Now(), by
	}
}

// compose makes a message that is not signed yet.
func (c *crowd) compose(p payer, at int, pays bool) *sent {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.number++
	m := &sent{number: c.number, at: at, payer: p, began: time.Now()}
	if pays {
		m.to = common.BytesToAddress(crypto.Keccak256(binary.BigEndian.AppendUint64([]byte("cluster"), c.number)))
		m.amount = strconv.FormatUint(1000+c.number, 10)
	}
	c.sent = append(c.sent, m)
	return m
}

func (m *sent) pays() bool { return m.amount != "" }

// once asks a process for an id if there is none yet, and submits. One that is silent for 20 seconds is given up.
func (c *crowd) once(ctx context.Context, party *stage.Party, m *sent) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if m.signed == nil {
		ids, err := party.IssueIDs(ctx, 1)
		if err != nil {
			return err
		}
		what := client.Message{
			ID: ids.IDs[0].ID, Type: "note.v1", Client: ids.Client, Chain: ids.Domains[0].Chain, Expires: ids.IDs[0].Expires,
			Body: map[string]string{"text": strconv.FormatUint(m.number, 10), "reference": "cluster"},
		}
		if m.pays() {
			what.Type, what.Body = "transfer.v1", client.Transfer{Wallet: m.payer.wallet.ID, To: m.to.Hex(), Asset: "native", Amount: m.amount}
		}
		signed, err := party.Client.Sign(what, ids, party.Sign)
		if err != nil {
			return err
		}
		m.id, m.signed = what.ID, signed
	}
	_, err := party.Submit(ctx, m.id, m.signed)
	return err
}
