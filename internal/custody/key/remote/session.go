package remote

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"

	pb "github.com/avalhq/aval/api/keymanager/v1"
	"github.com/avalhq/aval/internal/custody/key"
	"github.com/avalhq/aval/internal/problem"
)

// gathered is how many answers, or calls, go into one message at most.
const gathered = 256

// session is a worker's life.
type session struct {
	server  *Server
	names   []string
	answers chan *pb.Answer

	mu    sync.Mutex
	ended bool
	waits map[uint64]context.CancelFunc // by call: leases that are waited for
}

// Session serves a worker until it ends, and then sets aside what it has left.
func (s *Server) Session(stream grpc.BidiStreamingServer[pb.SessionRequest, pb.SessionResponse]) error {
	ctx, stop := context.WithCancel(stream.Context())
	in := &session{server: s, names: names(ctx), answers: make(chan *pb.Answer, gathered), waits: map[uint64]context.CancelFunc{}}
	if s.observe.Sessions != nil {
		s.observe.Sessions(1)
		defer s.observe.Sessions(-1)
	}
	if err := stream.Send(&pb.SessionResponse{}); err != nil {
		stop()
		return err
	}
	var calls, writer sync.WaitGroup
	writer.Go(func() { in.write(ctx, stream) })
	for {
		request, err := stream.Recv()
		if err != nil {
			break // closed by the worker, or broken: it is the same to what it holds
		}
		for _, call := range request.GetCalls() {
			in.begin(ctx, call, &calls)
		}
	}
	stop()
	in.end()
	calls.Wait()
	writer.Wait()
	in.leave(context.WithoutCancel(ctx))
	return nil
}

// write sends answers, as many at once as there are.
func (in *session) write(ctx context.Context, stream grpc.BidiStreamingServer[pb.SessionRequest, pb.SessionResponse]) {
	for {
		select {
		case <-ctx.Done():
			return
		case first := <-in.answers:
			if stream.Send(&pb.SessionResponse{Answers: gather(first, in.answers)}) != nil {
				return // the reader notices, too
			}
		}
	}
}

// gather takes what is there already, without waiting.
func gather[T any](first T, more <-chan T) []T {
	list := []T{first}
	for len(list) < gathered {
		select {
		case next := <-more:
			list = append(list, next)
		default:
			return list
		}
	}
	return list
}

// begin carries out a call, beside the others.
func (in *session) begin(ctx context.Context, call *pb.Call, calls *sync.WaitGroup) {
	switch what := call.GetWhat().(type) {
	case *pb.Call_GiveUp:
		in.mu.Lock()
		if cancel := in.waits[what.GiveUp.GetLease()]; cancel != nil {
			cancel()
		}
		in.mu.Unlock()
	case *pb.Call_Lease:
		waiting, cancel := context.WithCancel(ctx)
		in.mu.Lock()
		in.waits[call.GetId()] = cancel
		in.mu.Unlock()
		calls.Go(func() {
			k, err := in.lease(waiting, what.Lease)
			in.mu.Lock()
			delete(in.waits, call.GetId())
			in.mu.Unlock()
			cancel()
			answer := in.answer(call, err)
			if err == nil {
				answer.Key = toProto(k)
			}
			in.tell(ctx, answer)
		})
	case *pb.Call_Release:
		calls.Go(func() { in.tell(ctx, in.answer(call, in.release(ctx, what.Release))) })
	default:
		in.tell(ctx, in.answer(call, problem.New(problem.Invalid, "key-call-unknown", "the key-manager does not know this call; it is older than its worker")))
	}
}

func (in *session) answer(call *pb.Call, err error) *pb.Answer {
	a := &pb.Answer{Id: call.GetId()}
	if err != nil {
		a.Problem = problemOf(err)
	}
	return a
}

func (in *session) tell(ctx context.Context, a *pb.Answer) {
	select {
	case in.answers <- a:
	case <-ctx.Done():
	}
}

// lease takes a key for the worker. What is granted when the session has ended the worker never hears of: it is given back.
func (in *session) lease(ctx context.Context, r *pb.LeaseCall) (key.Key, error) {
	if err := mayHold(in.names, r.GetHolder()); err != nil {
		return key.Key{}, err
	}
	s, begun, outcome := in.server, time.Now(), "granted"
	if err := s.admit(r.GetHolder()); err != nil {
		return key.Key{}, err
	}
	l, err := s.registry.Lease(ctx, key.Request{Holder: r.GetHolder(), Key: r.GetKey(), Chain: r.GetChain(), Pool: r.GetPool(), TTL: r.GetTtl().AsDuration()})
	if err != nil {
		outcome = problem.From(err).Code
	}
	kept := in.keep(l, r.GetHolder(), err == nil)
	if s.observe.Waiting != nil {
		s.observe.Waiting(-1)
	}
	if s.observe.Leased != nil {
		s.observe.Leased(outcome, time.Since(begun))
	}
	if err == nil && !kept {
		err = s.registry.Release(context.WithoutCancel(ctx), l)
	}
	return l.Key, err
}

// admit notes that a lease is under way.
func (s *Server) admit(holder string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return problem.New(problem.Unavailable, "key-manager-stopping", "the key-manager is about to stop and leases no more keys; try again")
	}
	s.pending[holder]++
	if s.observe.Waiting != nil {
		s.observe.Waiting(1)
	}
	return nil
}

// keep notes a lease as the session's, and that it is not under way any more.
func (in *session) keep(l key.Lease, holder string, granted bool) (kept bool) {
	s := in.server
	s.mu.Lock()
	defer s.mu.Unlock()
	in.mu.Lock()
	defer in.mu.Unlock()
	if kept = granted && !in.ended; kept {
		s.held[l.Key.ID] = held{l, in}
	}
	if s.pending[holder]--; s.pending[holder] == 0 {
		delete(s.pending, holder)
	}
	s.settle()
	return kept
}

func (in *session) release(ctx context.Context, r *pb.ReleaseCall) error {
	if err := mayHold(in.names, r.GetHolder()); err != nil {
		return err
	}
	s := in.server
	s.mu.Lock()
	fence, ended := s.failed[r.GetKey()]
	l := s.held[r.GetKey()].Lease
	s.mu.Unlock()
	if ended && fence == r.GetFence() {
		return problem.New(key.ErrStale.Kind, key.ErrStale.Code, "the session in which %s leased the key %s has ended; nothing was released", r.GetHolder(), r.GetKey())
	}
	if l.Fence != r.GetFence() || l.Holder != r.GetHolder() { // of another key-manager, or of nobody
		k, err := s.registry.Get(ctx, r.GetKey())
		if err != nil && problem.KindOf(err) != problem.NotFound {
			return err
		}
		k.ID = r.GetKey()
		l = key.Lease{Key: k, Holder: r.GetHolder(), Fence: r.GetFence()}
	}
	err := s.registry.Release(ctx, l)
	if err == nil || problem.From(err).Code == key.ErrStale.Code {
		s.forget(l)
	}
	return err
}

// forget drops a lease, unless somebody named it who does not hold it.
func (s *Server) forget(l key.Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.held[l.Key.ID]; h.Fence == l.Fence && h.Holder == l.Holder {
		delete(s.held, l.Key.ID)
	}
	s.settle()
}

// end takes no more leases for the session.
func (in *session) end() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.ended = true
}

// leave sets aside what the session has left. Until that has succeeded it is tried again: meanwhile nobody gets these keys.
func (in *session) leave(ctx context.Context) {
	s, left := in.server, 0
	s.mu.Lock()
	for id, h := range s.held {
		if h.by == in {
			delete(s.held, id)
			s.failed[id] = h.Fence
			left++
		}
	}
	s.settle()
	s.mu.Unlock()
	for wait := 100 * time.Millisecond; left > 0; wait = min(2*wait, 5*time.Second) {
		select {
		case <-s.stopped:
			return
		default:
		}
		_, err := s.setAside(ctx, func(key.Key) bool { return false })
		if err == nil {
			return
		}
		s.log.WarnContext(ctx, "what a worker has left could not be set aside; tried again", "worker", in.names, "keys", left, "error", err)
		select {
		case <-s.stopped:
		case <-time.After(wait):
		}
	}
}
