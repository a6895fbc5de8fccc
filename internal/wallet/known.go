package wallet

import "sync"

// mostKnown bounds how many wallets are remembered.
const mostKnown = 10_000

// known is the wallets that were read by their ids. A wallet never changes, so every step of a transfer need not read it again. What
// is not there is not remembered: it can be added.
type known struct {
	mu   sync.RWMutex
	byID map[string]Wallet
}

func (k *known) get(id string) (w Wallet, found bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	w, found = k.byID[id]
	return w, found
}

func (k *known) put(w Wallet) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.byID == nil || len(k.byID) >= mostKnown {
		k.byID = make(map[string]Wallet)
	}
	k.byID[w.ID] = w
}
