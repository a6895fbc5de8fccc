package transaction

import (
	"maps"
	"slices"
	"sync"
)

// lane is what a Keeper remembers of a lane.
type lane struct {
	turn  sync.Mutex      // held while the lane is looked at and worked on; guards the next three
	ahead int             // looks in a row at which the chain had spent more nonces than were decided
	sunk  int             // looks in a row at which the chain had given up what counts as final
	told  map[uint64]bool // of which nonces that was recorded
	index *index

	recording sync.RWMutex // held while marks are stored and taken over

	mu        sync.Mutex // guards what follows; never held over I/O
	info      Lane
	nonce     uint64 // the chain's, at the newest look
	since     Moment // of the look at which it was told first
	looked    bool   // whether there was one
	head      uint64 // the newest block at it
	open      map[uint64]*Open
	window    window
	suspicion bool
	kept      bool // whether this process kept the lane at its last look
	others    bool // whether another one may have, at that look: what this one knows of its transactions may be old
}

// see notes what a look shows of the lane as a whole, adds since when it shows it, and gives the rules for it.
func (l *lane) see(info Lane, v *View, r Rules) Rules {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.looked && v.Nonce > l.nonce {
		l.window.moved(info.Next-min(l.nonce, info.Next), v.Nonce-l.nonce, v.Now.Head, r)
	}
	if !l.looked || v.Nonce != l.nonce {
		l.since = v.Now
	}
	l.info, l.nonce, l.head, l.looked, v.Since = info, v.Nonce, v.Now.Head, true, l.since
	return l.narrowed(r)
}

// rules are the keeper's, with the lane's own window.
func (l *lane) rules(r Rules) Rules {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.narrowed(r)
}

func (l *lane) narrowed(r Rules) Rules {
	r.Window = l.window.width(r)
	return r
}

// forget drops what this process knows of the transactions below a nonce. Offered bytes of which it knows no more are sent again.
func (l *lane) forget(below uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(below)
}

// drop is forget for who holds mu.
func (l *lane) drop(below uint64) {
	for nonce := range l.open {
		if nonce < below {
			l.index.drop(l.open[nonce].Step)
			delete(l.open, nonce)
		}
	}
}

// remember takes over what is stored of transactions; what this process remembers besides is kept.
func (l *lane) remember(all ...Transaction) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range all {
		if o := l.open[t.Nonce]; o != nil {
			if len(t.Attempts) >= len(o.Attempts) && t.sealed() >= o.sealed() {
				o.Attempts = t.Attempts
			}
			if o.Fate.Status == Unknown && t.Fate.Status != "" { // an operator may have said it to another process
				o.Fate = t.Fate
			}
			continue
		}
		if t.Nonce >= l.info.Settled {
			l.open[t.Nonce] = &Open{Transaction: t}
			l.index.put(t.Step, place{l, t.Nonce})
		}
	}
}

// knows says whether something open stands for a nonce.
func (l *lane) knows(nonce uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open[nonce] != nil
}

// lacking is the first nonce below end that is not known with its bytes; end when none is.
func (l *lane) lacking(end uint64) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	for nonce := l.info.Settled; nonce < end; nonce++ {
		if o := l.open[nonce]; o == nil || len(o.Newest().Signed.Raw) == 0 {
			return nonce
		}
	}
	return end
}

// snapshot gives copies of what is open, by nonce.
func (l *lane) snapshot() []Open {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Open, 0, len(l.open))
	for _, nonce := range slices.Sorted(maps.Keys(l.open)) {
		all = append(all, *l.open[nonce])
	}
	return all
}

// change works on a transaction in memory, if it is still open.
func (l *lane) change(nonce uint64, with func(*Open)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if o := l.open[nonce]; o != nil {
		with(o)
	}
}

// admits says which of the nonces may be with the node now; the others wait until the lane has moved on.
func (l *lane) admits(nonce uint64, r Rules) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.info.Halted != "" {
		return false
	}
	base := l.nonce
	if !l.looked {
		base = nonce
		for n := range l.open {
			base = min(base, n)
		}
	}
	return nonce < base+l.window.width(r)
}
