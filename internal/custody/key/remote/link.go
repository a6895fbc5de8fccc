package remote

import (
	"context"
	"sync"
	"time"

	"google.golang.org/grpc"

	pb "github.com/avalhq/aval/api/keymanager/v1"
	"github.com/avalhq/aval/internal/problem"
)

// link is the worker's side of a session.
type link struct {
	client *Client
	stream grpc.BidiStreamingClient[pb.SessionRequest, pb.SessionResponse]
	calls  chan *pb.Call
	closed chan struct{} // by close: nothing more is called
	broken chan struct{} // closed when the session has ended
	stop   context.CancelFunc
	once   sync.Once

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan *pb.Answer
}

// dial begins a session. It has begun when the key-manager says so.
func (c *Client) dial(ctx context.Context) (*link, error) {
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	late := time.AfterFunc(patience, stop)
	given := context.AfterFunc(ctx, stop)
	stream, err := c.rpc.Session(running)
	if err == nil {
		_, err = stream.Recv()
	}
	if inTime, wanted := late.Stop(), given(); err != nil || !inTime || !wanted {
		stop()
		if err == nil {
			err = context.Canceled
		}
		return nil, err
	}
	l := &link{client: c, stream: stream, calls: make(chan *pb.Call, gathered), closed: make(chan struct{}), broken: make(chan struct{}), stop: stop, waiting: map[uint64]chan *pb.Answer{}}
	go l.write()
	go l.read()
	return l, nil
}

func (l *link) over() bool {
	select {
	case <-l.broken:
		return true
	default:
		return false
	}
}

// write sends calls, as many at once as there are.
func (l *link) write() {
	for {
		select {
		case <-l.broken:
			return
		case <-l.closed:
			_ = l.stream.CloseSend() // the reader notices the end
			return
		case first := <-l.calls:
			if l.stream.Send(&pb.SessionRequest{Calls: gather(first, l.calls)}) != nil {
				return // the reader gets the reason
			}
		}
	}
}

func (l *link) read() {
	defer close(l.broken)
	defer l.stop()
	for {
		response, err := l.stream.Recv()
		if err != nil {
			return
		}
		for _, answer := range response.GetAnswers() {
			l.mu.Lock()
			waits := l.waiting[answer.GetId()]
			delete(l.waiting, answer.GetId())
			l.mu.Unlock()
			if waits != nil {
				waits <- answer
			}
		}
	}
}

// close ends the session and waits until the key-manager has done so, too.
func (l *link) close() {
	l.once.Do(func() { close(l.closed) })
	select {
	case <-l.broken:
	case <-time.After(patience):
	}
	l.stop()
}

// ask makes a call and waits for its answer.
func (l *link) ask(ctx context.Context, call *pb.Call) (*pb.Answer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	answers := l.expect(call)
	if err := l.send(call); err != nil {
		return nil, err
	}
	select {
	case answer := <-answers:
		return verdict(answer)
	case <-l.broken:
		return nil, l.lost()
	case <-ctx.Done():
		l.abandon(call, answers)
		return nil, ctx.Err()
	}
}

func verdict(answer *pb.Answer) (*pb.Answer, error) {
	if answer.GetProblem() != nil {
		return nil, understood(answer.GetProblem())
	}
	return answer, nil
}

func (l *link) expect(call *pb.Call) <-chan *pb.Answer {
	answers := make(chan *pb.Answer, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	call.Id = l.last
	l.waiting[call.GetId()] = answers
	return answers
}

func (l *link) send(call *pb.Call) error {
	select {
	case l.calls <- call:
		return nil
	case <-l.broken:
		return l.lost()
	}
}

func (l *link) lost() error {
	return problem.New(problem.Unavailable, "key-manager-unreachable", "the session with the key-manager at %s has ended; what it had not answered may have been done, and what was leased is set aside", l.client.options.Address)
}

// abandon gives up a call that nobody waits for any more, and gives back the lease that it may get. It waits for a while until the
// key-manager has done so: who was told that a key is busy is not given it afterwards.
func (l *link) abandon(call *pb.Call, answers <-chan *pb.Answer) {
	lease := call.GetLease()
	if lease == nil {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if l.send(&pb.Call{What: &pb.Call_GiveUp{GiveUp: &pb.GiveUpCall{Lease: call.GetId()}}}) != nil {
			return
		}
		if k := l.await(answers).GetKey(); k != nil {
			back := &pb.Call{What: &pb.Call_Release{Release: &pb.ReleaseCall{Key: k.GetId(), Holder: lease.GetHolder(), Fence: k.GetFence()}}}
			released := l.expect(back)
			_ = l.send(back) // when the session has ended the key is set aside
			l.await(released)
		}
	}()
	select {
	case <-done:
	case <-time.After(parting):
	}
}

// await is the answer to a call, nil when the session ends without one.
func (l *link) await(answers <-chan *pb.Answer) *pb.Answer {
	select {
	case answer := <-answers:
		return answer
	case <-l.broken:
		return nil
	}
}
