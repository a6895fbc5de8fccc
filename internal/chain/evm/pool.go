package evm

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/rpc"

	"github.com/avalhq/aval/internal/problem"
)

// Health is what is known of a node without asking it.
type Health struct {
	Endpoint string    // as it may be shown
	Up       bool      // it may be asked: it answers, is not asked too often, and is level with the others
	Head     uint64    // number of its newest block, as last told; 0 when it was never told
	Lag      uint64    // how many blocks it is away from the others, behind or ahead
	Since    time.Time // when it began to answer, or to fail
	Failure  error     // what went wrong last; nil while it answers
}

// Health tells of all nodes, in the order of preference. Heads are known of several nodes, or while somebody follows Heads.
func (n *Network) Health() []Health {
	level, known := n.level()
	all := make([]Health, len(n.endpoints))
	for i, e := range n.endpoints {
		all[i] = e.health(level, known)
		all[i].Up = all[i].Failure == nil && all[i].Lag <= n.config.MaxLag
	}
	return all
}

// Wrong says why the node may not be asked; "" when it may.
func (h Health) Wrong() string {
	switch {
	case h.Failure != nil:
		return h.Failure.Error()
	case !h.Up:
		return fmt.Sprintf("the node at %s is %d blocks away from the others, at block %d: it is not asked until it is level again", h.Endpoint, h.Lag, h.Head)
	}
	return ""
}

func (e *endpoint) health(level uint64, known bool) Health {
	e.mu.Lock()
	defer e.mu.Unlock()
	h := Health{Endpoint: e.name, Head: e.head, Since: e.since, Failure: e.failure}
	if e.told && known {
		h.Lag = max(e.head, level) - min(e.head, level)
	}
	return h
}

// level is the number of the newest block that the nodes that answer agree on: of two the higher, as one of them is late more
// often than it lies; of more the median, so that one that is far ahead of all others is not believed. Not known when none has
// told its head.
func (n *Network) level() (level uint64, known bool) {
	var heads []uint64
	for _, e := range n.endpoints {
		e.mu.Lock()
		if e.failure == nil && e.told {
			heads = append(heads, e.head)
		}
		e.mu.Unlock()
	}
	if len(heads) == 0 {
		return 0, false
	}
	slices.SortFunc(heads, func(a, b uint64) int { return cmp.Compare(b, a) })
	return heads[(len(heads)-1)/2], true
}

// order is the nodes to ask, the first first. One that is away from the others is not asked; one that failed last time is asked
// after the others, and alone decides by its breaker whether it is asked at all.
func (n *Network) order() []*endpoint {
	level, known := n.level()
	var well, failing []*endpoint
	for _, e := range n.endpoints {
		switch h := e.health(level, known); {
		case h.Failure != nil:
			failing = append(failing, e)
		case h.Lag <= n.config.MaxLag:
			well = append(well, e)
		}
	}
	return append(well, failing...)
}

// one asks node after node until one answers. Other problems than a node's own are answers.
func one[T any](ctx context.Context, n *Network, ask func(context.Context, *endpoint) (T, error)) (answer T, err error) {
	var errs []error
	for _, e := range n.order() {
		if answer, err = ask(ctx, e); !unable(err) {
			return answer, err
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return answer, n.none(errs)
}

// unable says whether a problem is the node's own, so that another may answer.
func unable(err error) bool {
	return err != nil && (problem.From(err).Code == "chain-unreachable" || isMismatch(err))
}

// none is the problem when no node has answered.
func (n *Network) none(errs []error) error {
	if len(errs) == 1 && len(n.endpoints) == 1 {
		return errs[0]
	}
	said := make([]string, len(errs))
	for i, err := range errs {
		said[i] = err.Error()
	}
	p := problem.New(problem.Unavailable, "chain-unreachable", "none of the %d nodes of the chain can be asked: %s", len(n.endpoints), strings.Join(said, "; "))
	if len(errs) > 0 {
		p.Cause = errs[0]
	}
	return p
}

// several asks as many nodes as the quorum.
func several[T any](ctx context.Context, n *Network, ask func(context.Context, *endpoint) (T, error)) ([]T, error) {
	return among(ctx, n, n.config.Quorum, n.config.Quorum, ask)
}

// latest is how long the others are waited for when enough of those asked have answered.
const latest = 500 * time.Millisecond

// among asks so many nodes at once, the quorum at least, and others in the place of those that cannot answer. When enough have
// answered, and the quorum, it waits for the rest a little longer.
func among[T any](ctx context.Context, n *Network, count, enough int, ask func(context.Context, *endpoint) (T, error)) ([]T, error) {
	count, enough = max(count, n.config.Quorum), max(enough, n.config.Quorum)
	if count == 1 {
		answer, err := one(ctx, n, ask)
		return []T{answer}, err
	}
	type reply struct {
		answer T
		err    error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	order := n.order()
	replies, under := make(chan reply, len(order)), 0
	next := func() {
		if len(order) == 0 {
			return
		}
		e := order[0]
		order, under = order[1:], under+1
		go func() {
			answer, err := ask(ctx, e)
			replies <- reply{answer, err}
		}()
	}
	for range count {
		next()
	}
	var answers []T
	var errs []error
	var late <-chan time.Time
	for ; under > 0 && len(answers) < count; under-- {
		if len(answers) >= enough && late == nil {
			late = time.After(latest)
		}
		var r reply
		select {
		case r = <-replies:
		case <-late:
			return answers, nil
		}
		switch {
		case r.err == nil:
			answers = append(answers, r.answer)
		case !unable(r.err):
			return nil, r.err
		default:
			errs = append(errs, r.err)
			next()
		}
	}
	if len(answers) < n.config.Quorum {
		return nil, problem.New(problem.Unavailable, "chain-unreachable", "%d of %d nodes can be asked and %d have to agree: %w", len(answers), len(n.endpoints), n.config.Quorum, n.none(errs))
	}
	return answers, nil
}

// batch does the requests with the first node that can, and asks others for what it could not answer. Each element keeps its
// own error; the answer is one that concerns all nodes.
func (n *Network) batch(ctx context.Context, elems []rpc.BatchElem) error {
	if len(elems) == 0 {
		return nil
	}
	left := make([]int, len(elems))
	for i := range elems {
		left[i] = i
	}
	var errs []error
	nodes := n.order()
	for _, e := range nodes {
		part := make([]rpc.BatchElem, len(left))
		for at, i := range left {
			part[at] = elems[i]
		}
		if err := e.batch(ctx, part); err != nil {
			errs = append(errs, err)
			continue
		}
		var open []int
		for at, i := range left {
			if elems[i].Error = part[at].Error; classify(elems[i].Error).elsewhere() {
				open = append(open, i)
			}
		}
		if left = open; len(left) == 0 {
			return nil
		}
	}
	if len(errs) == len(nodes) {
		return n.none(errs)
	}
	return nil
}

// read is a batch in which every request has to succeed.
func (n *Network) read(ctx context.Context, elems []rpc.BatchElem) error {
	if err := n.batch(ctx, elems); err != nil {
		return err
	}
	for _, elem := range elems {
		if elem.Error != nil {
			return n.unanswered(elem.Method, elem.Error)
		}
	}
	return nil
}
