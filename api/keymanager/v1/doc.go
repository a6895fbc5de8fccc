// Package keymanagerv1 is the key-manager's protocol: keymanager.proto, and the Go code that is generated from it.
//
// The comments of the .proto file are the contract, for whoever writes a client or another key-manager. Package remote has both sides
// in Go.
package keymanagerv1

//go:generate go run -C ../../.. ./api/generate/stubs api/keymanager/v1/keymanager.proto
