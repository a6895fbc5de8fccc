package etcd

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	together = 48 // writes in one transaction of etcd, which takes 128 comparisons
	abreast  = 4  // such transactions under way at the same time
)

// write is a compare-and-swap of one key of etcd, with what is written beside it.
type write struct {
	name       string // of the key; no two writes of one transaction have the same
	revision   int64  // that it has to be at
	conditions []clientv3.Cmp
	ops        []clientv3.Op
	done       chan written
}

// written is what became of a write: when it did not happen, now is what is there.
type written struct {
	revision int64
	won      bool
	now      *clientv3.GetResponse
	err      error
}

func (w *write) compares() []clientv3.Cmp {
	return append(w.conditions, clientv3.Compare(clientv3.ModRevision(w.name), "=", w.revision))
}

// commit has a write done together with those of others that come while transactions are under way: etcd takes one entry of its log
// and one fsync for all of them. They stand and fall together; when they fall each is tried for itself.
func (s *server) commit(ctx context.Context, w *write) written {
	w.done = make(chan written, 1)
	select {
	case s.writes <- w:
	case <-ctx.Done():
		return written{err: ctx.Err()}
	}
	select {
	case outcome := <-w.done:
		return outcome
	case <-ctx.Done():
		return written{err: ctx.Err()} // and perhaps done all the same
	}
}

// gather carries out writes until ctx ends.
func (s *server) gather(ctx context.Context) {
	for {
		var batch []*write
		select {
		case <-ctx.Done():
			return
		case first := <-s.writes:
			batch = append(batch, first)
		}
		names := map[string]bool{batch[0].name: true}
		var twice *write
	filling:
		for len(batch) < together && twice == nil {
			select {
			case next := <-s.writes:
				if names[next.name] {
					twice = next
				} else {
					names[next.name] = true
					batch = append(batch, next)
				}
			default:
				break filling
			}
		}
		s.carryOut(ctx, batch)
		if twice != nil {
			s.alone(ctx, twice)
		}
	}
}

func (s *server) carryOut(ctx context.Context, batch []*write) {
	if len(batch) == 1 {
		s.alone(ctx, batch[0])
		return
	}
	var compares []clientv3.Cmp
	var ops []clientv3.Op
	for _, w := range batch {
		compares, ops = append(compares, w.compares()...), append(ops, w.ops...)
	}
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err := s.client.Txn(bounded).If(compares...).Then(ops...).Commit()
	switch {
	case err != nil:
		for _, w := range batch {
			w.done <- written{err: err}
		}
	case answer.Succeeded:
		for _, w := range batch {
			w.done <- written{revision: answer.Header.Revision, won: true}
		}
	default:
		for _, w := range batch {
			go s.alone(ctx, w)
		}
	}
}

func (s *server) alone(ctx context.Context, w *write) {
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err := s.client.Txn(bounded).If(w.compares()...).Then(w.ops...).Else(clientv3.OpGet(w.name)).Commit()
	switch {
	case err != nil:
		w.done <- written{err: err}
	case answer.Succeeded:
		w.done <- written{revision: answer.Header.Revision, won: true}
	default:
		w.done <- written{now: (*clientv3.GetResponse)(answer.Responses[0].GetResponseRange())}
	}
}
