// Package remote is the key-manager: it serves a registry of keys to workers in other processes over gRPC, and is the registry that
// these use. The protocol is api/keymanager/v1.
//
// A worker has a session for as long as its process lives, and leases inside of it. When the session ends, because the worker has
// closed it, was killed or cut off, the Server sets aside what it still held, with the holder's name (I10); before that its keys go
// to nobody. A worker that was cut off begins a new session with its next call; a lease of the former one releases nothing.
//
// A lease is a hint here as anywhere: what protects is the fence, in the transaction of the decision (package signer).
//
// Both sides show a certificate. The name in the worker's is the name of the holder of its leases: see Server.
package remote

import (
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/avalhq/aval/api/keymanager/v1"
	"github.com/avalhq/aval/internal/custody/key"
)

// Registry is what is served, and what a Client is.
type Registry interface {
	key.Registry
	key.Trust
}

const (
	patience = 10 * time.Second // how long an answer to what does not wait for a key may take
	parting  = 5 * time.Second  // how long who gives up waiting for a key waits to hear that it was given up
	silence  = 5 * time.Second  // after which the other side is asked whether it lives, and how long it may take to answer
)

// redial is how a worker looks for a key-manager that is away: soon, as nothing is signed meanwhile, and there are few workers.
var redial = grpc.ConnectParams{
	Backoff: backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second}, MinConnectTimeout: patience,
}

var statusOf = map[key.Status]pb.KeyStatus{key.Free: pb.KeyStatus_KEY_STATUS_FREE, key.Leased: pb.KeyStatus_KEY_STATUS_LEASED, key.Quarantined: pb.KeyStatus_KEY_STATUS_QUARANTINED}

func toProto(k key.Key) *pb.Key {
	out := &pb.Key{Id: k.ID, Chain: k.Chain, Address: k.Address, Pool: k.Pool, Status: statusOf[k.Status], Holder: k.Holder, Fence: k.Fence, Nonce: k.Nonce, Known: k.Known, Reason: k.Reason}
	if !k.LastUsed.IsZero() {
		out.LastUsed = timestamppb.New(k.LastUsed)
	}
	return out
}

func fromProto(k *pb.Key) key.Key {
	out := key.Key{ID: k.GetId(), Chain: k.GetChain(), Address: k.GetAddress(), Pool: k.GetPool(), Holder: k.GetHolder(), Fence: k.GetFence(), Nonce: k.GetNonce(), Known: k.GetKnown(), Reason: k.GetReason()}
	for name, number := range statusOf {
		if number == k.GetStatus() {
			out.Status = name
		}
	}
	if k.GetLastUsed() != nil {
		out.LastUsed = k.GetLastUsed().AsTime().Local()
	}
	return out
}

func allToProto(keys []key.Key) []*pb.Key {
	out := make([]*pb.Key, len(keys))
	for i, k := range keys {
		out[i] = toProto(k)
	}
	return out
}

func allFromProto(keys []*pb.Key) []key.Key {
	out := make([]key.Key, len(keys))
	for i, k := range keys {
		out[i] = fromProto(k)
	}
	return out
}
