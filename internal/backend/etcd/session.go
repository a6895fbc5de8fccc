package etcd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/avalhq/aval/internal/lifecycle"
)

// session is this process as the others see it: an instance, which etcd removes when the process has been silent for too long.
// An instance never comes back: after a silence the process is another one, and the leases of the former are lost.
type session struct {
	s       *server
	process string // the name that holders have

	renewing sync.Mutex // held while it is found out whether the instance is still there
	mu       sync.Mutex
	id       string // the instance: the number of its lease in etcd, hexadecimal
}

// join takes a first instance.
func (s *server) join(ctx context.Context) (*session, error) {
	in := &session{s: s}
	err := in.renew(ctx)
	in.process = fmt.Sprintf("%s-%s", s.options.Name, in.id)
	return in, err
}

// renew takes a new instance.
func (in *session) renew(ctx context.Context) error {
	return in.s.call(ctx, func(ctx context.Context) error {
		granted, err := in.s.client.Grant(ctx, int64((in.s.options.Session+time.Second-1)/time.Second))
		if err != nil {
			return err
		}
		id := strconv.FormatInt(int64(granted.ID), 16)
		if _, err = in.s.client.Put(ctx, in.s.instances+id, in.s.options.Name, clientv3.WithLease(granted.ID)); err != nil {
			return err
		}
		in.mu.Lock()
		defer in.mu.Unlock()
		in.id = id
		return nil
	})
}

func (in *session) current() string {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.id
}

// keep tells etcd that the process lives, until ctx ends.
func (in *session) keep(ctx context.Context) {
	for ctx.Err() == nil {
		id := in.current()
		beats, err := in.s.client.KeepAlive(ctx, leaseOf(id))
		if err == nil {
			for range beats { // until the session has ended, or etcd has not answered for as long
				continue
			}
		}
		if err := in.revive(ctx, id); err != nil {
			_ = lifecycle.Sleep(ctx, pause)
		}
	}
}

// revive goes on with an instance when it is still there, and takes another one otherwise, once for all who ask.
func (in *session) revive(ctx context.Context, id string) error {
	in.renewing.Lock()
	defer in.renewing.Unlock()
	if in.current() != id {
		return nil
	}
	gone := false
	err := in.s.call(ctx, func(ctx context.Context) error {
		_, err := in.s.client.KeepAliveOnce(ctx, leaseOf(id))
		if gone = errors.Is(err, rpctypes.ErrLeaseNotFound); gone {
			return nil
		}
		return err
	})
	if err == nil && gone {
		err = in.renew(ctx)
	}
	return err
}

// leave ends the instance at once.
func (in *session) leave(ctx context.Context) error {
	return in.s.call(ctx, func(ctx context.Context) error {
		_, err := in.s.client.Revoke(ctx, leaseOf(in.current()))
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			err = nil
		}
		return err
	})
}

func leaseOf(id string) clientv3.LeaseID {
	lease, _ := strconv.ParseInt(id, 16, 64) // it was formatted here
	return clientv3.LeaseID(lease)
}
