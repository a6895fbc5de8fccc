package transaction

// window is how many transactions of a lane may be with the node at once. It follows the node's answers, as a sender's window in
// TCP does (RFC 5681): it grows by a part of what it began with while it is what holds the lane up, and is halved when the node
// has no room for the lane's transactions.
type window struct {
	size   uint64 // 0: as it begins
	shrunk uint64 // the head at which it was halved last: once a block is enough
}

// narrowest is the least that a window is halved to.
const narrowest = 8

// width is the present size.
func (w *window) width(r Rules) uint64 {
	if w.size == 0 {
		return r.Window
	}
	return w.size
}

// moved grows a window that held transactions back since the last look, and of which the chain has mined at least half: less than
// that would say that the blocks are what the lane waits for. decided and mined are counted from where the lane was.
func (w *window) moved(decided, mined, head uint64, r Rules) {
	size := w.width(r)
	if decided > size && mined >= (size+1)/2 && head != w.shrunk {
		w.size = max(size, min(size+(r.Window+1)/2, r.Widest))
	}
}

// refused halves a window.
func (w *window) refused(head uint64, r Rules) {
	if w.shrunk == head && w.size != 0 {
		return
	}
	w.size, w.shrunk = max(w.width(r)/2, min(narrowest, r.Window)), head
}
