package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ethereum/go-ethereum/common"

	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/internal/problem"
)

// installation is what a data folder is for good: it is written at the first start and compared at every later one.
type installation struct {
	// Contract is the verifying contract of the EIP-712 domain. There is no such contract: the random address makes what is
	// signed for one installation worthless at any other.
	Contract common.Address `json:"verifyingContract"`
	ChainID  uint64         `json:"chainId"`
	Genesis  string         `json:"genesis,omitempty"` // hash of the chain's block 0; from the first contact on

	keystore string // names the key store, for a database that several processes share
}

// openInstallation reads or makes the installation of a data folder.
func openInstallation(folder string, chainID uint64) (installation, error) {
	path := filepath.Join(folder, "installation.json")
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return newInstallation(path, chainID)
	}
	var in installation
	if err == nil {
		err = json.Unmarshal(raw, &in)
	}
	if err != nil {
		return in, problem.New(problem.Internal, "installation-unreadable", "cannot read %s: %w; restore it from a backup", path, err)
	}
	if in.ChainID != chainID {
		return in, problem.New(problem.Conflict, "chain-changed", "the data folder %s belongs to chain %d, and chain.id is %d; a folder keeps its chain: set chain.id back, or use another data folder", folder, in.ChainID, chainID)
	}
	return in, nil
}

// meet compares the chain that was met with the one that the folder belongs to. A chain that began anew under the same id
// has none of our transactions: nonces would wait behind a gap for ever.
func (in *installation) meet(folder, genesis string) error {
	if in.Genesis == "" {
		in.Genesis = genesis
		return in.write(filepath.Join(folder, "installation.json"))
	}
	if in.Genesis != genesis {
		return problem.New(problem.Conflict, "chain-changed", "the data folder %s belongs to the chain with genesis %s, and the node serves one with genesis %s under the same id; point chain.url at the former chain, or use another data folder", folder, in.Genesis, genesis)
	}
	return nil
}

func newInstallation(path string, chainID uint64) (installation, error) {
	in := freshInstallation(chainID)
	return in, in.write(path)
}

func freshInstallation(chainID uint64) installation {
	in := installation{ChainID: chainID}
	_, _ = rand.Read(in.Contract[:]) // never fails: it ends the program when the system has no randomness
	return in
}

func (in *installation) write(path string) error {
	raw, err := json.MarshalIndent(in, "", "  ")
	if err != nil {
		return err
	}
	return writeDurably(path, raw)
}

// writeDurably puts a small file in place, whole or not at all.
func writeDurably(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Join(err, os.Remove(f.Name())))
	}
	return syncFolder(filepath.Dir(path))
}

// domain is the EIP-712 domain of the installation on its chain.
func (in installation) domain() message.Domain {
	return message.Domain{Name: "Aval", Version: "1", ChainID: in.ChainID, VerifyingContract: in.Contract}
}
