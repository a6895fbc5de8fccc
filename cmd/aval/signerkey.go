package main

import (
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"io/fs"
	"os"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/crypto"
)

// signerKey is a key with which a client signs its messages: the client's own, on the client's machine. Aval knows its
// address alone. It is no custody key, which never leaves the key store.
type signerKey struct {
	Address string `json:"address"`
	Private string `json:"private_key"`
}

func newSignerKey() (signerKey, error) {
	key, err := crypto.GenerateKey()
	if err != nil {
		return signerKey{}, err
	}
	return signerKey{crypto.PubkeyToAddress(key.PublicKey).Hex(), hexutil.Encode(crypto.FromECDSA(key))}, nil
}

// String keeps the key out of whatever is printed.
func (k signerKey) String() string { return k.Address }

// key reads the private part.
func (k signerKey) key() (*ecdsa.PrivateKey, error) {
	raw, err := hexutil.Decode(k.Private)
	if err != nil {
		return nil, errors.New("its private_key is not 0x and 64 hex digits")
	}
	key, err := crypto.ToECDSA(raw)
	if err != nil {
		return nil, errors.New("its private_key is no secp256k1 key")
	}
	if crypto.PubkeyToAddress(key.PublicKey).Hex() != k.Address {
		return nil, errors.New("its address is not that of its private_key")
	}
	return key, nil
}

// readSignerKey reads a key file, which nobody but its owner may be able to read.
func readSignerKey(path string) (signerKey, error) {
	var k signerKey
	info, err := os.Stat(path)
	if err != nil {
		return k, misused("signer-key-unreadable", "cannot read the signer key: %w; aval key new-signer FILE makes one", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return k, misused("signer-key-exposed", "others on this machine can read the signer key %s; chmod 600 it, and replace the key if somebody may have", path)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return k, misused("signer-key-unreadable", "cannot read the signer key: %w", err)
	}
	if json.Unmarshal(raw, &k) != nil {
		return k, misused("signer-key-malformed", "%s is no signer key: JSON with address and private_key is expected", path)
	}
	if _, err := k.key(); err != nil {
		return k, misused("signer-key-malformed", "the signer key %s cannot be used: %w", path, err)
	}
	return k, nil
}

// write makes the file, readable by its owner alone; it replaces none.
func (k signerKey) write(path string) error {
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return misused("file-exists", "%s is there already, and a key is not replaced; give another path", path)
	}
	raw, err := json.MarshalIndent(k, "", "  ") //nolint:gosec // the key file is what the key is for
	if err != nil {
		return err
	}
	return writeDurably(path, append(raw, '\n'))
}
