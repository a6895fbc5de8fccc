package signertest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/conform"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/custody/signer"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/problem"
)

// RequestsHarness is a backend of signer.Requests under test, with the decisions that it excludes.
type RequestsHarness struct {
	// Open opens all on the same storage again, as the next process does; what was opened before has ended.
	Open func(t testing.TB) (key.Registry, signer.Decisions, signer.Requests)
	// Faults are those that all were opened with.
	Faults *fault.Points
}

// RunRequests runs the suite of signer.Requests; each test gets storage of its own. Nothing in it can be left out.
func RunRequests(t *testing.T, fresh func(t testing.TB) RequestsHarness) {
	conform.Suite[RequestsHarness]{
		Cases: map[string]func(*testing.T, RequestsHarness){
			"basic/RequestsReadBack":             requestsReadBack,
			"basic/PutOnce":                      putOnce,
			"basic/ListedInOrder":                listedInOrder,
			"basic/ClosedIsListedNoMore":         closed,
			"basic/RefusedAndAskedAgain":         refusedAndAskedAgain,
			"transactions/I5RefusedIsNotDecided": refusedIsNotDecided,
			"transactions/I5DecidedIsNotRefused": decidedIsNotRefused,
			"concurrency/I16NoneIsSkipped":       noneSkipped,
			"concurrency/OnePutWins":             onePutWins,
			"concurrency/I5DecidedOrRefused":     decidedOrRefused,
			"faults/Put":                         putFaults,
			"faults/Refuse":                      refuseFaults,
			"faults/ClosedMayBeListedNotSkipped": listedAfterRestart,
		},
	}.Run(t, func(t *testing.T) RequestsHarness { return fresh(t) })
}

// counter is a backend of requests, with a key whose leases decide.
type counter struct {
	*desk
	q signer.Requests
}

func openRequests(t testing.TB, h RequestsHarness) *counter {
	t.Helper()
	c := &counter{}
	c.desk = open(t, Harness{Faults: h.Faults, Open: func(t testing.TB) (key.Registry, signer.Decisions) {
		var r key.Registry
		var d signer.Decisions
		r, d, c.q = h.Open(t)
		return r, d
	}})
	return c
}

// requests is n of them, half of them for a key.
func (c *counter) requests(n int) []signer.Request {
	out := make([]signer.Request, n)
	txs := c.txs(n)
	for i, step := range steps(n) {
		out[i] = signer.Request{Step: step, Tx: txs[i], Pool: "hot", Until: time.UnixMicro(1_900_000_000_000_000 + int64(i))}
		if i%2 == 1 {
			out[i].Key, out[i].Pool, out[i].Until = c.k.ID, "", time.Time{}
		}
	}
	return out
}

func stepsOf(requests []signer.Request) []signer.Step {
	out := make([]signer.Step, len(requests))
	for i, r := range requests {
		out[i] = r.Step
	}
	return out
}

func (c *counter) put(t testing.TB, n int) []signer.Request {
	t.Helper()
	requests := c.requests(n)
	must(t, c.q.Put(t.Context(), requests))
	return requests
}

func (c *counter) standing(t testing.TB, step signer.Step) signer.Standing {
	t.Helper()
	found, err := c.q.Find(t.Context(), []signer.Step{step})
	must(t, err)
	return found[step]
}

// list reads so many open requests, waiting for them, and says that there are no more.
func (c *counter) list(t testing.TB, after int64, n int) (all []signer.Open) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); len(all) < n; {
		batch, err := c.q.List(t.Context(), after, 3)
		must(t, err)
		if len(batch) == 0 && time.Now().After(deadline) {
			t.Fatalf("%d requests were listed; want %d", len(all), n)
		}
		for _, o := range batch {
			if o.Seq <= after {
				t.Fatalf("%d was listed after %d", o.Seq, after)
			}
			after = o.Seq
		}
		all = append(all, batch...)
	}
	if more, err := c.q.List(t.Context(), after, 3); err != nil || len(more) != 0 {
		t.Fatalf("%v, %v was listed beside the %d", more, err, n)
	}
	return all
}

func listedSteps(list []signer.Open) []signer.Step {
	out := make([]signer.Step, len(list))
	for i, o := range list {
		out[i] = o.Step
	}
	return out
}

func sameSteps(t testing.TB, got, wanted []signer.Step) {
	t.Helper()
	if !slices.Equal(got, wanted) {
		t.Fatalf("listed %v; want %v", got, wanted)
	}
}

func requestsReadBack(t *testing.T, h RequestsHarness) {
	c := openRequests(t, h)
	put := c.put(t, 4)
	c.restart(t)
	found, err := c.q.Find(t.Context(), append(stepsOf(put), steps(1)...))
	must(t, err)
	if len(found) != len(put) {
		t.Fatalf("found %d requests; want %d", len(found), len(put))
	}
	for _, want := range put {
		got := found[want.Step]
		if !got.Until.Equal(want.Until) || got.Until.IsZero() != want.Until.IsZero() {
			t.Errorf("good until %s; want %s", got.Until, want.Until)
		}
		got.Until = want.Until
		if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", signer.Standing{Request: want, Number: 1}); g != w {
			t.Errorf("found\n%s\nwant\n%s", g, w)
		}
	}
	must(t, c.q.Put(t.Context(), nil))
	if n, oldest, err := c.q.Waiting(t.Context()); err != nil || n != 4 || time.Since(oldest) > time.Minute {
		t.Errorf("%d wait since %s, %v; want 4 since now", n, oldest, err)
	}
}

func putOnce(t *testing.T, h RequestsHarness) {
	c := openRequests(t, h)
	put := c.put(t, 2)
	again := slices.Clone(put)
	again[0].Pool, again[0].Tx.Gas = "other", 5
	third := c.requests(1)[0]
	must(t, c.q.Put(t.Context(), []signer.Request{again[0], third, third, again[1]}))
	if got := c.standing(t, put[0].Step); got.Pool != "hot" || got.Tx.Gas != put[0].Tx.Gas || got.Number != 1 {
		t.Errorf("the second request replaced the first: %+v", got)
	}
	sameSteps(t, listedSteps(c.list(t, 0, 3)), []signer.Step{put[0].Step, put[1].Step, third.Step})
}

func listedInOrder(t *testing.T, h RequestsHarness) {
	c := openRequests(t, h)
	var want []signer.Step
	for _, n := range []int{1, 5, 2} {
		want = append(want, stepsOf(c.put(t, n))...)
	}
	list := c.list(t, 0, 8)
	sameSteps(t, listedSteps(list), want)
	if o := list[2]; o.Key != c.k.ID || o.Pool != "" || time.Since(o.At) > time.Minute {
		t.Errorf("listed %+v; want the key %s, put now", o, c.k.ID)
	}
	sameSteps(t, listedSteps(c.list(t, list[4].Seq, 3)), want[5:])
}

func closed(t *testing.T, h RequestsHarness) {
	c := openRequests(t, h)
	want := stepsOf(c.put(t, 4))
	must(t, c.q.Close(t.Context(), append([]signer.Step{want[1], want[2]}, steps(1)...)))
	sameSteps(t, listedSteps(c.list(t, 0, 2)), []signer.Step{want[0], want[3]})
	if c.standing(t, want[1]).Number != 1 {
		t.Error("a request that was answered is forgotten")
	}
	must(t, c.q.Close(t.Context(), want))
	if n, oldest, err := c.q.Waiting(t.Context()); err != nil || n != 0 || !oldest.IsZero() {
		t.Errorf("%d wait since %s, %v; want none", n, oldest, err)
	}
}

var because = problem.New(problem.Invalid, "transaction-unfit", "it does not fit, because %d is odd", 3)

func (c *counter) refuse(t testing.TB, step signer.Step, number int) {
	t.Helper()
	must(t, c.q.Refuse(t.Context(), []signer.Refusal{{Step: step, Number: number, Because: fmt.Errorf("sign: %w", because)}}))
}

func refusedAndAskedAgain(t *testing.T, h RequestsHarness) {
	c := openRequests(t, h)
	put := c.put(t, 2)
	step := put[0].Step
	c.refuse(t, step, 1)
	c.refuse(t, steps(1)[0], 1) // nobody asked for it: nothing to refuse
	c.restart(t)
	got := c.standing(t, step)
	want(t, got.Refused, because)
	if got.Refused.Error() != "sign: it does not fit, because 3 is odd" || got.Told {
		t.Errorf("refused with %q, told %t", got.Refused, got.Told)
	}
	sameSteps(t, listedSteps(c.list(t, 0, 1)), []signer.Step{put[1].Step})
	must(t, c.q.Tell(t.Context(), []signer.Step{step, put[1].Step}))
	if got := c.standing(t, step); got.Refused == nil || !got.Told {
		t.Errorf("it was told, but stands at %+v", got)
	}
	must(t, c.q.Put(t.Context(), put))
	if got := c.standing(t, step); got.Refused != nil || got.Told || got.Number != 2 {
		t.Errorf("it asked again, and stands at %+v", got)
	}
	c.refuse(t, step, 1) // too late: another one counts
	if got := c.standing(t, step); got.Refused != nil {
		t.Errorf("an old request's refusal refused the new one: %v", got.Refused)
	}
	sameSteps(t, listedSteps(c.list(t, 0, 2)), []signer.Step{put[1].Step, step})
}

func refusedIsNotDecided(t *testing.T, h RequestsHarness) {
	c := openRequests(t, h)
	put := c.put(t, 2)
	c.refuse(t, put[0].Step, 1)
	l := c.lease(t)
	_, err := c.d.Decide(t.Context(), l, stepsOf(put), c.txs(2))
	want(t, err, signer.ErrRefused)
	if found := c.find(t, stepsOf(put)); found[0].Key != "" || found[1].Key != "" || c.next(t) != first {
		t.Errorf("decided %+v; the next nonce is %d", found, c.next(t))
	}
	must(t, c.q.Put(t.Context(), put[:1]))
	_, err = c.d.Decide(t.Context(), l, stepsOf(put), c.txs(2))
	must(t, err)
}

func decidedIsNotRefused(t *testing.T, h RequestsHarness) {
	c := openRequests(t, h)
	put := c.put(t, 2)
	c.decide(t, stepsOf(put[:1]))
	must(t, c.q.Refuse(t.Context(), []signer.Refusal{{Step: put[0].Step, Number: 1, Because: because}, {Step: put[1].Step, Number: 1, Because: because}}))
	if got := c.standing(t, put[0].Step); got.Refused != nil {
		t.Errorf("what was decided is refused: %v", got.Refused)
	}
	if c.standing(t, put[1].Step).Refused == nil {
		t.Error("the other one of the batch is not refused")
	}
}

// noneSkipped: a reader that follows several writers sees each request, once, though they commit in any order.
func noneSkipped(t *testing.T, h RequestsHarness) {
	c := openRequests(t, h)
	var writers sync.WaitGroup
	var mu sync.Mutex
	wanted := map[signer.Step]bool{}
	for range 6 {
		writers.Go(func() {
			for n := range 15 {
				requests := c.requests(1 + n%4)
				if err := c.q.Put(t.Context(), requests); err != nil {
					t.Error(err)
				}
				mu.Lock()
				for _, r := range requests {
					wanted[r.Step] = true
				}
				mu.Unlock()
			}
		})
	}
	ended := make(chan struct{})
	go func() { writers.Wait(); close(ended) }()
	seen, after := map[signer.Step]bool{}, int64(0)
	for deadline := time.Now().Add(time.Minute); ; {
		list, err := c.q.List(t.Context(), after, 7)
		must(t, err)
		for _, o := range list {
			if seen[o.Step] || o.Seq <= after {
				t.Fatalf("%+v is listed again, or out of order after %d", o, after)
			}
			seen[o.Step], after = true, o.Seq
		}
		select {
		case <-ended:
			if len(seen) == len(wanted) {
				return
			}
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d requests were listed: the others were skipped", len(seen), len(wanted))
		}
	}
}

func onePutWins(t *testing.T, h RequestsHarness) {
	c := openRequests(t, h)
	request := c.requests(1)[0]
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			mine := request
			mine.Pool = fmt.Sprint("pool ", i)
			if err := c.q.Put(t.Context(), []signer.Request{mine}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if o := c.list(t, 0, 1)[0]; o.Step != request.Step || o.Pool != c.standing(t, request.Step).Pool {
		t.Errorf("listed %+v, but %+v counts", o, c.standing(t, request.Step))
	}
}

// decidedOrRefused: of a decision and a refusal at the same time one happens, never both.
func decidedOrRefused(t *testing.T, h RequestsHarness) {
	c := openRequests(t, h)
	for range 25 {
		put := c.put(t, 1)
		l := c.lease(t)
		var all sync.WaitGroup
		var failed error
		all.Go(func() { _, failed = c.d.Decide(t.Context(), l, stepsOf(put), c.txs(1)) })
		all.Go(func() {
			if err := c.q.Refuse(t.Context(), []signer.Refusal{{Step: put[0].Step, Number: 1, Because: because}}); err != nil {
				t.Error(err)
			}
		})
		all.Wait()
		c.release(t, l)
		refused := c.standing(t, put[0].Step).Refused != nil
		decided := c.find(t, stepsOf(put))[0].Key != ""
		if refused == decided || refused != errors.Is(failed, signer.ErrRefused) {
			t.Fatalf("refused %t, decided %t, and the decision answered %v", refused, decided, failed)
		}
	}
}

func putFaults(t *testing.T, h RequestsHarness) {
	c := openRequests(t, h)
	total := 0
	sides(func(side string, stored, restart bool) {
		requests := c.requests(2)
		h.Faults.Arm("requests.put"+side, fault.Fail, 1)
		want(t, c.q.Put(t.Context(), requests), fault.ErrInjected)
		if restart {
			c.restart(t)
		}
		if got := c.standing(t, requests[1].Step); (got.Number == 1) != stored {
			t.Fatalf("put%s: the request stands at %+v", side, got)
		}
		must(t, c.q.Put(t.Context(), requests))
		total += 2
		c.list(t, 0, total)
	})
}

func refuseFaults(t *testing.T, h RequestsHarness) {
	c := openRequests(t, h)
	sides(func(side string, stored, restart bool) {
		put := c.put(t, 1)
		h.Faults.Arm("requests.refuse"+side, fault.Fail, 1)
		refusal := []signer.Refusal{{Step: put[0].Step, Number: 1, Because: because}}
		want(t, c.q.Refuse(t.Context(), refusal), fault.ErrInjected)
		if restart {
			c.restart(t)
		}
		if got := c.standing(t, put[0].Step); (got.Refused != nil) != stored {
			t.Fatalf("refuse%s: the request stands at %+v", side, got)
		}
		must(t, c.q.Refuse(t.Context(), refusal))
		want(t, c.standing(t, put[0].Step).Refused, because)
	})
}

// listedAfterRestart: what was never closed is listed by the next process.
func listedAfterRestart(t *testing.T, h RequestsHarness) {
	c := openRequests(t, h)
	put := c.put(t, 3)
	must(t, c.q.Close(t.Context(), stepsOf(put[:1])))
	c.restart(t)
	for _, step := range stepsOf(put[1:]) {
		if !slices.Contains(listedSteps(c.list(t, 0, 2)), step) {
			t.Errorf("%v is not listed after a restart", step)
		}
	}
}
