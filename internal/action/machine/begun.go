package machine

import "sync"

// Begun are the states whose effect may have happened, in the order in which they were begun. It only grows; what it grows
// from stays as it was, though both share memory.
type Begun struct {
	log *begunLog
	n   int // of the log's names
}

// begunLog is a list of names that several Begun see the beginnings of.
type begunLog struct {
	mu    sync.Mutex
	names []string
	apart []bool // in a branch: it is a part of its own
	first map[string]int
}

func (l *begunLog) add(name string, apart bool) {
	l.first[name] = len(l.names)
	l.names, l.apart = append(l.names, name), append(l.apart, apart)
}

// Names are all of them, not to be changed.
func (b Begun) Names() []string {
	if b.log == nil {
		return nil
	}
	b.log.mu.Lock()
	defer b.log.mu.Unlock()
	return b.log.names[:b.n:b.n]
}

// Has tells whether a state is among them.
func (b Begun) Has(name string) bool {
	if b.log == nil {
		return false
	}
	b.log.mu.Lock()
	defer b.log.mu.Unlock()
	at, known := b.log.first[name]
	return known && at < b.n
}

// with is the same with one more.
func (b Begun) with(name string, apart bool) Begun {
	if b.log == nil {
		b.log = &begunLog{first: map[string]int{}}
	}
	b.log.mu.Lock()
	defer b.log.mu.Unlock()
	log := b.log
	if len(log.names) > b.n { // another one has grown from the same beginning
		log = &begunLog{first: map[string]int{}}
		for i := range b.n {
			log.add(b.log.names[i], b.log.apart[i])
		}
	}
	log.add(name, apart)
	return Begun{log, b.n + 1}
}

// own are those that are no parts of their own.
func (b Begun) own() (names []string) {
	if b.log == nil {
		return nil
	}
	b.log.mu.Lock()
	defer b.log.mu.Unlock()
	for i := range b.n {
		if !b.log.apart[i] {
			names = append(names, b.log.names[i])
		}
	}
	return names
}
