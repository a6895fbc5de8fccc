package archtest

import (
	"fmt"
	"go/ast"
	"slices"
)

// boundary says what the packages in folders may not import.
type boundary struct {
	folders []string // these and below
	forbid  []string // import paths, these and below; of this module from its root
	except  []string // import paths that are allowed though below a forbidden one
	why     string
}

// doesIO is what a package that does no I/O cannot import.
var doesIO = []string{
	"os", "net", "syscall", "database/sql", "io/ioutil", "log", "zombiezen.com/go/sqlite", "modernc.org/sqlite",
	"github.com/ethereum/go-ethereum/ethclient", "github.com/ethereum/go-ethereum/rpc", "github.com/ethereum/go-ethereum/node",
	"internal/backend", "internal/server", "internal/chain/evm", "cmd",
}

var boundaries = []boundary{
	{[]string{"internal/message", "internal/action/machine", "internal/money", "internal/problem", "internal/typeid"}, doesIO,
		[]string{"net/url", "net/netip"}, "it does no I/O: the same input gives the same answer everywhere"},
	{[]string{"internal", "client", "schemas", "workflows"}, []string{"internal/backend", "cmd"},
		nil, "only cmd knows which backend stands behind a port"},
	{[]string{"internal/guarantee"}, []string{"internal/action", "internal/reference", "internal/custody", "internal/server"},
		nil, "Guarantee depends on no other domain"},
	{[]string{"internal/reference"}, []string{"internal/action", "internal/custody", "internal/server"},
		nil, "Reference follows Guarantee and nothing else"},
	{[]string{"internal/chain", "internal/custody/key", "internal/custody/keystore"}, []string{"internal/guarantee", "internal/action", "internal/reference", "internal/server"},
		nil, "chains and keys know nothing of messages' workflows"},
	{[]string{"internal/action", "internal/custody", "internal/chain", "internal/event", "internal/wallet", "internal/clients"}, []string{"internal/server", "internal/config"},
		nil, "the edge and the configuration depend on the rooms, not the rooms on them"},
}

// sealed are imports that only some folders may have.
var sealed = []struct {
	imported string
	folders  []string
	why      string
}{
	{"github.com/tink-crypto/tink-go/v2", []string{"internal/custody/keystore"}, "keys are sealed and opened in one place"},
	{"zombiezen.com/go/sqlite", []string{"internal/backend/sqlite"}, "backends are native: their SQL stays with them"},
	{"github.com/jackc/pgx/v5", []string{"internal/backend/postgres", "cmd"}, "backends are native: their SQL stays with them"},
	{"go.etcd.io/etcd/client/v3", []string{"internal/backend/etcd"}, "backends are native: their transactions stay with them"},
	{"github.com/twmb/franz-go", []string{"internal/backend/kafka"}, "backends are native: their client stays with them"},
	{"math/rand", nil, "chance in Aval is cryptographic, or handed in by a test"},
}

// privateKeys are the calls of go-ethereum's crypto package that handle a private key's bytes, and keyHolders may make them.
var privateKeys = []string{"GenerateKey", "ToECDSA", "ToECDSAUnsafe", "HexToECDSA", "FromECDSA", "LoadECDSA", "SaveECDSA", "Sign"}

var keyHolders = map[string]string{
	"internal/custody/keystore":   "the custody keys live here",
	"internal/chain/evm/devchain": "the development chain's own funded account",
	"cmd":                         "the command line signs as a client does",
	"client":                      "the key of a client, who signs on his own machine",
	"test/e2e/stage":              "the same, in tests of the whole program",
}

func importRules() []rule {
	const seen = "package message\n\nimport _ %q\n"
	return []rule{
		{
			name: "imports", why: "design §5", check: checkBoundaries,
			broken: []map[string]string{
				{"internal/message/a.go": fmt.Sprintf(seen, "os")},
				{"internal/message/a.go": fmt.Sprintf(seen, "net/http")},
				{"internal/message/a.go": fmt.Sprintf(seen, modulePath+"/internal/disk"), "internal/disk/d.go": "package disk\n\nimport _ \"os\"\n"},
				{"internal/action/machine/a.go": "package machine\n\nimport _ \"zombiezen.com/go/sqlite\"\n"},
				{"internal/server/a.go": "package server\n\nimport _ \"" + modulePath + "/internal/backend/sqlite\"\n"},
				{"internal/guarantee/a.go": "package guarantee\n\nimport _ \"" + modulePath + "/internal/reference\"\n"},
			},
			kept: []map[string]string{
				{"internal/message/a.go": fmt.Sprintf(seen, "net/url")},
				{"internal/message/a_test.go": fmt.Sprintf(seen, "os")},
				{"cmd/aval/a.go": "package main\n\nimport _ \"" + modulePath + "/internal/backend/sqlite\"\n"},
				{"internal/backend/sqlite/a.go": "package sqlite\n\nimport _ \"" + modulePath + "/internal/backend/sqlite/x\"\n"},
			},
		},
		{
			name: "sealed imports", why: "design §5", check: checkSealed,
			broken: []map[string]string{
				{"internal/server/a.go": "package server\n\nimport _ \"github.com/tink-crypto/tink-go/v2/aead\"\n"},
				{"internal/server/a_test.go": "package server\n\nimport _ \"math/rand\"\n"},
			},
			kept: []map[string]string{{"internal/custody/keystore/file/a.go": "package file\n\nimport _ \"github.com/tink-crypto/tink-go/v2/aead\"\n"}},
		},
		{
			name: "private keys", why: "private key bytes stay inside custody/keystore", check: checkPrivateKeys,
			broken: []map[string]string{{"internal/custody/signer/a.go": "package signer\n\nimport \"github.com/ethereum/go-ethereum/crypto\"\n\nvar _, _ = crypto.GenerateKey()\n"}},
			kept: []map[string]string{
				{"internal/custody/keystore/a.go": "package keystore\n\nimport \"github.com/ethereum/go-ethereum/crypto\"\n\nvar _, _ = crypto.GenerateKey()\n"},
				{"internal/message/a.go": "package message\n\nimport \"github.com/ethereum/go-ethereum/crypto\"\n\nvar _ = crypto.Keccak256()\n"},
			},
		},
	}
}

func checkBoundaries(m *module) []violation {
	var found []violation
	reach := reachable(m)
	for _, b := range boundaries {
		for _, s := range m.program() {
			if !under(s.dir, b.folders...) || under(s.dir, b.forbid...) {
				continue
			}
			for _, spec := range s.syntax.Imports {
				imported := spec.Path.Value[1 : len(spec.Path.Value)-1]
				if through, bad := b.refuses(imported, reach); bad {
					found = append(found, m.at(spec, "imports %s, which is or leads to %s: %s", imported, through, b.why))
				}
			}
		}
	}
	return found
}

// refuses tells what an import is or leads to that the boundary forbids.
func (b boundary) refuses(imported string, reach map[string][]string) (string, bool) {
	names := []string{imported}
	if dir, ok := inModule(imported); ok {
		names = append([]string{dir}, reach[dir]...)
	}
	for _, name := range names {
		if under(name, b.forbid...) && !slices.Contains(b.except, name) {
			return name, true
		}
	}
	return "", false
}

// reachable maps each folder to all that its program imports, through this module's own packages.
func reachable(m *module) map[string][]string {
	direct := map[string][]string{}
	for _, s := range m.program() {
		direct[s.dir] = append(direct[s.dir], s.imports...)
	}
	all := map[string][]string{}
	for start := range direct {
		seen := map[string]bool{}
		var walk func(dir string)
		walk = func(dir string) {
			for _, imported := range direct[dir] {
				name, _ := inModule(imported)
				if !seen[name] {
					seen[name] = true
					all[start] = append(all[start], name)
					walk(name)
				}
			}
		}
		walk(start)
	}
	return all
}

func checkSealed(m *module) []violation {
	var found []violation
	for _, s := range m.sources {
		for _, spec := range s.syntax.Imports {
			imported := spec.Path.Value[1 : len(spec.Path.Value)-1]
			for _, seal := range sealed {
				if under(imported, seal.imported) && !under(s.dir, seal.folders...) {
					found = append(found, m.at(spec, "imports %s: %s", imported, seal.why))
				}
			}
		}
	}
	return found
}

func checkPrivateKeys(m *module) []violation {
	var found []violation
	needed := map[string]bool{}
	for _, s := range m.program() {
		if !slices.Contains(s.imports, "github.com/ethereum/go-ethereum/crypto") {
			continue
		}
		ast.Inspect(s.syntax, func(n ast.Node) bool {
			pkg, name, ok := selector(n)
			if !ok || pkg != "crypto" || !slices.Contains(privateKeys, name) {
				return true
			}
			if holder := keyHolder(s.dir); holder != "" {
				needed[holder] = true
				return true
			}
			found = append(found, m.at(n, "crypto.%s handles a private key", name))
			return true
		})
	}
	return append(found, m.unneeded(keyHolders, needed)...)
}

// keyHolder is the exception that a folder falls under, or "".
func keyHolder(dir string) string {
	for folder := range keyHolders {
		if under(dir, folder) {
			return folder
		}
	}
	return ""
}

// selector takes "pkg.Name" apart.
func selector(n ast.Node) (pkg, name string, ok bool) {
	s, ok := n.(*ast.SelectorExpr)
	if !ok {
		return "", "", false
	}
	x, ok := s.X.(*ast.Ident)
	if !ok {
		return "", "", false
	}
	return x.Name, s.Sel.Name, true
}
