package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/ethereum/go-ethereum/accounts/abi"

	"github.com/avalhq/aval/internal/chain/evm"
	"github.com/avalhq/aval/internal/message/calldata"
	"github.com/avalhq/aval/internal/problem"
)

// abis are the ABIs of a folder: the custom errors of all, and those that are bound to a contract by the name of their file.
type abis struct {
	errors []abi.Error
	bound  map[string]calldata.Contract // by the contract's address
}

func readABIs(folder string) (all abis, err error) {
	all.bound = map[string]calldata.Contract{}
	if folder == "" {
		return all, nil
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return all, problem.New(problem.Invalid, "config-invalid", "chain.abis: the folder cannot be read: %w", err)
	}
	for _, entry := range entries {
		path := filepath.Join(folder, entry.Name())
		if entry.IsDir() || filepath.Ext(path) != ".json" {
			continue
		}
		if err := all.read(path); err != nil {
			return all, problem.New(problem.Invalid, "config-invalid", "chain.abis: %s: %w", path, err)
		}
	}
	return all, nil
}

// read takes in one file. One that is named by an address says all that may be called there.
func (a *abis) read(path string) error {
	document, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	found, err := evm.DeclaredErrors(document)
	if err != nil {
		return err
	}
	a.errors = append(a.errors, found...)
	name := strings.TrimSuffix(filepath.Base(path), ".json")
	if !strings.HasPrefix(name, "0x") {
		return nil
	}
	address, err := evm.NewCodec(1).Address(name)
	if err != nil {
		return err
	}
	if _, twice := a.bound[address]; twice {
		return problem.New(problem.Invalid, "config-invalid", "the contract %s has two ABIs: keep one", address)
	}
	a.bound[address], err = calldata.ParseContract(document)
	return err
}
