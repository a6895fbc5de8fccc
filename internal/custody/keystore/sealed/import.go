package sealed

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"slices"
	"strings"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/avalhq/aval/internal/custody/keystore"
	"github.com/avalhq/aval/internal/problem"
)

// Import copies a store, sealed as it is, to another place, and gives the number of its keys. Every key is opened first: one that
// is damaged or weak (A17), or that the store has under two ids, is refused, and so is a place with another store or another
// value under a name. The envelope is copied last, so that the store is not there before it is whole; after a crash Import goes on.
func (s *Store) Import(ctx context.Context, to keystore.Blobs) (keys int, err error) {
	envelope, err := s.blobs.Get(ctx, storeName)
	if err != nil {
		return 0, unreadable(s.blobs.Where(storeName), err)
	}
	there, err := to.Get(ctx, storeName)
	if err == nil && !bytes.Equal(there, envelope) {
		return 0, problem.New(keystore.ErrExists.Kind, keystore.ErrExists.Code, "%s is the envelope of another key store already; nothing was imported", to.Where(storeName))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, unreadable(to.Where(storeName), err)
	}
	if keys, err = s.copyKeys(ctx, to); err != nil {
		return keys, err
	}
	secrets, err := s.blobs.List(ctx, "secrets")
	if err != nil {
		return keys, unreadable(s.blobs.Where("secrets"), err)
	}
	for _, name := range secrets {
		content, err := s.blobs.Get(ctx, name)
		if err != nil {
			return keys, unreadable(s.blobs.Where(name), err)
		}
		if err := add(ctx, to, name, content); err != nil {
			return keys, err
		}
	}
	return keys, add(ctx, to, storeName, envelope)
}

func (s *Store) copyKeys(ctx context.Context, to keystore.Blobs) (keys int, err error) {
	names, err := s.blobs.List(ctx, "keys")
	if err != nil {
		return 0, unreadable(s.blobs.Where("keys"), err)
	}
	owners := map[string]string{} // ids by address
	for _, name := range names {
		id := strings.TrimSuffix(strings.TrimPrefix(name, "keys/"), ".sealed")
		content, err := s.blobs.Get(ctx, name)
		if err != nil {
			return keys, unreadable(s.blobs.Where(name), err)
		}
		address, err := s.examine(id, content)
		if err != nil {
			return keys, err
		}
		if twin := owners[address]; twin != "" {
			return keys, problem.New(problem.Conflict, "key-duplicate", "%s and %s are one key under two ids; two lanes of one address would take each other's nonces: remove the one that no wallet uses", twin, id)
		}
		owners[address] = id
		if err := add(ctx, to, name, content); err != nil {
			return keys, err
		}
		keys++
	}
	return keys, nil
}

// examine opens a sealed key, refuses a weak one, and gives its address.
func (s *Store) examine(id string, content []byte) (address string, err error) {
	private, err := s.unseal(id, content)
	if err != nil {
		return "", damagedKey(s.blobs.Where("keys/"+id+".sealed"), id, err)
	}
	if why := weakness(private); why != "" {
		return "", problem.New(problem.Invalid, "key-weak", "the key %s is refused: %s; whoever guesses it has what the address holds: move that to a new wallet", id, why)
	}
	return crypto.PubkeyToAddress(private.PublicKey).Hex(), nil
}

// add stores a value where there is none, or the same.
func add(ctx context.Context, to keystore.Blobs, name string, content []byte) error {
	err := to.Add(ctx, name, content)
	if errors.Is(err, fs.ErrExist) {
		var there []byte
		if there, err = to.Get(ctx, name); err == nil && !bytes.Equal(there, content) {
			err = problem.New(keystore.ErrExists.Kind, keystore.ErrExists.Code, "%s is there already, and is another one; it was left as it is", to.Where(name))
		}
	}
	if err != nil {
		return unwritable(to.Where(name), err)
	}
	return nil
}

// famous are addresses whose keys everybody has: the first accounts of "test test test test test test test test test test test
// junk", the phrase that development nodes (anvil, Hardhat) begin with.
var famous = []string{
	"0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266", "0x70997970C51812dc3A010C7d01b50e0d17dc79C8", "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
	"0x90F79bf6EB2c4f870365E785982E1f101E93b906", "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65", "0x9965507D1a55bcC2695C58ba16FB37d819B0A4dc",
	"0x976EA74026E726554dB657fA54763abd0C3a0aa9", "0x14dC79964da2C08b23698B3D3cc7Ca32193d9955", "0x23618e81E3f5cdF7f54C3d65f7FBc0aBf5B21E8f",
	"0xa0Ee7A142d267C1f36714E4a8F75612F20a79720",
}

// weakness tells why a private key can be guessed; "" when nothing is wrong with it. One of random bytes has none of these with
// a probability of more than 1 - 2^-90.
func weakness(private *ecdsa.PrivateKey) string {
	secret := crypto.FromECDSA(private)
	defer clear(secret)
	d, small := new(big.Int).SetBytes(secret), new(big.Int).Lsh(big.NewInt(1), 160)
	switch {
	case d.Cmp(small) < 0, new(big.Int).Sub(crypto.S256().Params().N, d).Cmp(small) < 0:
		return "it is at the edge of its range"
	case slices.Contains(famous, crypto.PubkeyToAddress(private.PublicKey).Hex()):
		return "it is one that development nodes give to everybody"
	}
	for _, period := range []int{1, 2, 4, 8, 16} {
		if bytes.Equal(secret[period:], secret[:len(secret)-period]) {
			return fmt.Sprintf("its bytes repeat after %d", period)
		}
	}
	return ""
}
