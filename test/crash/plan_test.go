package crash

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// point is a place with a fault point before and after it.
type point struct {
	name    string
	hits    int              // the strike comes at a hit between the first and this one
	begin   func(*run)       // before the process starts; may be nil
	chore   func(*run) error // makes the process pass the point, again and again; nil where the load does, or the start
	besides string           // a rule that leads to the point
}

// points are all that a run can pass; that none is missing is what checkComplete checks. (reference.recount is passed only
// where numbers in the file are wrong, which nothing that Aval does leads to; its suite strikes it.)
var points = []point{
	{name: "guarantee.define", hits: 3},
	{name: "guarantee.issue", hits: 40},
	{name: "guarantee.accept", hits: 40},
	{name: "guarantee.commit", hits: 25},
	{name: "outbox.trim", hits: 1},
	{name: "reference.apply", hits: 15},
	{name: "reference.replace", hits: 1, begin: (*run).spoilReference, chore: (*run).rebuild},
	{name: "secrets.put", hits: 1, chore: (*run).register},
	{name: "clients.put", hits: 1, chore: (*run).register},
	{name: "clients.change", hits: 2, chore: (*run).toggle},
	{name: "wallets.add", hits: 1, chore: (*run).openWallet},
	{name: "keystore.secret", hits: 1, begin: (*run).dropSecret},
	{name: "keystore.generate", hits: 1, chore: (*run).openWallet},
	{name: "keys.add", hits: 1, chore: (*run).openWallet},
	{name: "keys.reconcile", hits: 1, chore: (*run).openWallet},
	{name: "keys.quarantine", hits: 1},
	{name: "keys.lease", hits: 10},
	{name: "keys.release", hits: 10},
	{name: "decisions.decide", hits: 10},
	{name: "decisions.store", hits: 10},
	{name: "signer.sign", hits: 12},
	{name: "send", hits: 10},
	{name: "transactions.mark", hits: 10},
	{name: "action.validate", hits: 40},
	{name: "action.authorize", hits: 40},
	{name: "action.sign", hits: 10},
	{name: "action.send", hits: 10},
	{name: "action.confirm", hits: 12},
	{name: "action.record", hits: 40},
	{name: "action.archive", hits: 40},
	{name: "action.park", hits: 1, besides: "signer.sign.before=fail@1,"},
}

// byChance are points that a run passes only where the chain is slow enough for a transaction to be raised, which transactiontest
// strikes; and where a message is nudged in the moment in which it waits in Guarantee, which is a hint that may be lost.
var byChance = []string{"transactions.replace", "transactions.seal", "feeder.nudge"}

// strike is what one life of the process ends with.
type strike struct {
	name  string // of the point, or what else happens
	side  string // ".before", ".after", or ""
	rule  string // for AVAL_FAULTS; "" is killed from outside
	begin func(*run)
	chore func(*run) error
	// trouble happens to the chain while the process serves; after is what ends it, before the next life.
	trouble, after func(*run) error
	delay          time.Duration // of a kill from outside, from the start or from the trouble
}

// named gives every point, both sides.
func (r *run) named() (all []strike) {
	for _, p := range points {
		for _, side := range []string{".before", ".after"} {
			rule := fmt.Sprintf("%s%s%s=kill@%d", p.besides, p.name, side, 1+r.chance.Below(p.hits))
			all = append(all, strike{name: p.name, side: side, rule: rule, begin: p.begin, chore: p.chore})
		}
	}
	return all
}

// troubles are what happens to the chain.
func (r *run) troubles() []strike {
	return append(r.backing.strikes(), []strike{
		{name: "chain restarted", trouble: (*run).restartChain},
		{name: "chain cut off", trouble: (*run).cutWire, after: (*run).mendWire},
		{name: "answers to broadcasts lost", trouble: (*run).loseAnswers},
		{name: "broadcasts forgotten by the node", trouble: (*run).forgetBroadcasts},
	}...)
}

// plan is n strikes: every named one in an order of chance, each tenth of another kind, and from then on any.
func (r *run) plan(n int) []strike {
	var plan []strike
	for len(plan) < n {
		round := r.shuffled(r.named())
		for len(round) > 0 && len(plan) < n {
			switch len(plan) % 10 {
			case 4:
				plan = append(plan, strike{name: "at any moment"})
			case 9:
				troubles := r.troubles()
				plan = append(plan, troubles[len(plan)/10%len(troubles)])
			default:
				plan, round = append(plan, round[0]), round[1:]
			}
			plan[len(plan)-1].delay = time.Duration(r.chance.Below(900)) * time.Millisecond
		}
	}
	return plan
}

// shuffled puts strikes in an order of chance. Trimming comes last: it needs an outbox that has grown.
func (r *run) shuffled(all []strike) []strike {
	for i := len(all) - 1; i > 0; i-- {
		j := r.chance.Below(i + 1)
		all[i], all[j] = all[j], all[i]
	}
	late := func(s strike) int { return strings.Count(s.name, "outbox.trim") }
	slices.SortStableFunc(all, func(a, b strike) int { return late(a) - late(b) })
	return all
}

// checkComplete compares what was struck with what a run passes: a point that somebody adds has to be in the list, and the run
// long enough for all of them. (One on the list that no run passes is never reached, which fails its life.)
func (r *run) checkComplete() {
	for name := range r.passed {
		point, _, _ := strings.Cut(name, ".before")
		point, _, _ = strings.Cut(point, ".after")
		if r.struck[name] == 0 && !slices.Contains(byChance, point) {
			r.t.Errorf("the point %s was passed and never struck: add it to the list of points", name)
		}
	}
	for _, s := range r.named() {
		if name := s.name + s.side; r.struck[name] == 0 {
			r.t.Errorf("the point %s is on the list and was never struck: a run needs more kills", name)
		}
	}
	if len(r.passed) < 40 {
		r.t.Errorf("only %d points were passed", len(r.passed))
	}
}
