package crash

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
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
	number   int
	cycle    int // the life of the process in which it was first submitted
	party    *stage.Party
	kind     string
	wallet   client.Wallet // transfers
	to       string        // nobody else is paid there: it tells the transfers on the chain apart
	amount   string
	id       string
	signed   []byte
	accepted bool          // a 2xx came back
	given    bool          // submitted once, and not again when there was no answer
	final    client.Record // as it was first seen at its end
}

// load submits messages, a burst at each beat, for as long as it is kept up, and never lets a message go before it was
// answered, however many processes that takes.
type load struct {
	run    *run
	stop   context.CancelFunc
	bursts sync.WaitGroup

	mu     sync.Mutex
	chance stage.Chance
	all    []*sent // in the order of their first submission
	count  int
}

// A burst, and the time between two.
const (
	notes     = 16
	transfers = 4
	beat      = 120 * time.Millisecond
)

func newLoad(r *run) *load {
	ctx, stop := context.WithCancel(r.t.Context())
	l := &load{run: r, stop: stop, chance: *r.chance ^ 1}
	l.bursts.Go(func() { l.keepUp(ctx) })
	return l
}

// keepUp begins a burst at each beat. One that is not through holds the next ones up: what a dead process is sent is bounded.
func (l *load) keepUp(ctx context.Context) {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if l.run.served(ctx) != nil {
			return
		}
		var burst sync.WaitGroup
		for _, m := range l.burst() {
			burst.Go(func() { l.submit(m) })
		}
		burst.Wait()
	}
}

// end stops the load once what is under way was answered.
func (l *load) end() []*sent {
	l.stop()
	l.bursts.Wait()
	return l.sent()
}

func (l *load) sent() []*sent {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]*sent(nil), l.all...)
}

func (l *load) burst() (all []*sent) {
	l.run.mu.Lock()
	wallets := append([]client.Wallet(nil), l.run.wallets...)
	l.run.mu.Unlock()
	for i := range notes + transfers {
		m := l.compose(client.Wallet{}, i)
		if i >= notes {
			m = l.compose(wallets[l.below(len(wallets))], i)
		}
		m.given = l.below(20) == 0
		all = append(all, m)
	}
	return all
}

func (l *load) below(n int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.chance.Below(n)
}

// compose makes a message that is not signed yet: a transfer from the wallet, or a note when there is none.
func (l *load) compose(w client.Wallet, salt int) *sent {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count++
	m := &sent{number: l.count, kind: "note.v1", party: l.run.parties[salt%len(l.run.parties)]}
	if w.ID == "" {
		return m
	}
	tag := crypto.Keccak256(binary.BigEndian.AppendUint64([]byte("crash"), uint64(l.count)))
	m.kind, m.wallet, m.to, m.amount = "transfer.v1", w, common.BytesToAddress(tag).Hex(), strconv.Itoa(1000+l.count)
	for _, p := range l.run.parties {
		if p.ID == w.Owner {
			m.party = p
		}
	}
	return m
}

func (m *sent) body() any {
	if m.kind == "note.v1" {
		return map[string]string{"text": "entry " + strconv.Itoa(m.number), "reference": "crash"}
	}
	return client.Transfer{Wallet: m.wallet.ID, To: m.to, Asset: "native", Amount: m.amount}
}

// submit sees a message through to its answer.
func (l *load) submit(m *sent) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.run.t.Context()), 2*patience)
	defer cancel()
	err := l.once(ctx, m)
	for err != nil && stage.Gone(err) && !(m.given && m.id != "") {
		if err = l.run.served(ctx); err == nil {
			err = l.once(ctx, m)
		}
	}
	if err == nil {
		err = l.look(ctx, m)
	}
	if err != nil && !stage.Gone(err) || ctx.Err() != nil {
		l.run.t.Errorf("message %d (%s %s): %v", m.number, m.kind, m.id, errors.Join(err, ctx.Err()))
	}
}

// once asks for an id if there is none yet, and submits.
func (l *load) once(ctx context.Context, m *sent) error {
	if m.signed == nil {
		ids, err := m.party.IssueIDs(ctx, 1)
		if err != nil {
			return err
		}
		m.id = ids.IDs[0].ID
		what := client.Message{ID: m.id, Type: m.kind, Client: ids.Client, Chain: ids.Domains[0].Chain, Expires: ids.IDs[0].Expires, Body: m.body()}
		if m.signed, err = m.party.Client.Sign(what, ids, m.party.Sign); err != nil {
			return err
		}
		l.begin(m)
	}
	_, err := m.party.Submit(ctx, m.id, m.signed)
	l.mu.Lock()
	defer l.mu.Unlock()
	m.accepted = m.accepted || err == nil
	return err
}

// begin writes a message down before it leaves.
func (l *load) begin(m *sent) {
	l.run.mu.Lock()
	m.cycle = l.run.cycles
	l.run.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, m)
}

// look now and then reads an original back (I1), submits it again (I2, A1), looks whether an older message has ended and
// keeps how (I4), or has an operator get in the controller's way.
func (l *load) look(ctx context.Context, m *sent) error {
	switch l.below(8) {
	case 0:
		original, err := m.party.Original(ctx, m.id)
		if err == nil && !bytes.Equal(original, m.signed) {
			l.run.t.Errorf("the original of %s came back as %q, was %q", m.id, original, m.signed)
		}
		return err
	case 1:
		rec, err := m.party.Submit(ctx, m.id, m.signed)
		if err == nil && rec.ID != m.id {
			return fmt.Errorf("the same bytes again were answered with %+v", rec)
		}
		return err
	case 2:
		return l.lookBack(ctx)
	case 3:
		return l.meddle(ctx, m)
	}
	return nil
}

// held is the reason that an operator gives.
const held = "held by an operator, to see whether the controller heeds it"

// meddle parks a message wherever it stands, and lets it go on. It may have ended before: then the operator is refused.
func (l *load) meddle(ctx context.Context, m *sent) error {
	_, err := l.run.operator.Park(ctx, m.id, held)
	if err == nil {
		_, err = l.run.operator.Resume(ctx, m.id)
	}
	if conflict(err) {
		return nil
	}
	return err
}

// conflict says whether an operator was refused because a message has gone on.
func conflict(err error) bool {
	var p *client.Problem
	return errors.As(err, &p) && p.Status == http.StatusConflict
}

// lookBack reads an older message.
func (l *load) lookBack(ctx context.Context) error {
	l.mu.Lock()
	m := l.all[l.chance.Below(len(l.all))]
	known := m.accepted && m.final.ID == ""
	l.mu.Unlock()
	if !known {
		return nil
	}
	rec, err := m.party.Get(ctx, m.id)
	if err != nil || !rec.Status.Final() {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	m.final = rec
	return nil
}
