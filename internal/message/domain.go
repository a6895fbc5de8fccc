package message

import (
	"errors"
	"regexp"
	"strconv"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/avalhq/aval/internal/problem"
)

const domainType = "EIP712Domain"

func domainFields() []Field {
	return []Field{{"name", "string"}, {"version", "string"}, {"chainId", "uint256"}, {"verifyingContract", "address"}}
}

// digest is what EIP-712 has signed for a struct under a domain.
func (c *Catalog) digest(d Domain, structHash common.Hash) (common.Hash, error) {
	separator, err := c.domain.hash([]any{d.Name, d.Version, strconv.FormatUint(d.ChainID, 10), d.VerifyingContract.Hex()})
	if err != nil {
		return common.Hash{}, err
	}
	return crypto.Keccak256Hash([]byte{0x19, 0x01}, separator[:], structHash[:]), nil
}

// personal is what EIP-191 has signed for a text.
func personal(text []byte) common.Hash {
	return crypto.Keccak256Hash([]byte("\x19Ethereum Signed Message:\n"+strconv.Itoa(len(text))), text)
}

var caip2 = regexp.MustCompile(`^[-a-z0-9]{3,8}:[-_a-zA-Z0-9]{1,32}$`)

// checkChain holds a chain's CAIP-2 id against the domain that the installation has for it.
func checkChain(chain string, d Domain) error {
	if d.ChainID > maxExact {
		return problem.New(problem.Invalid, "chain-mismatch", "the signing domain's chain id is beyond 2^53, which JSON cannot carry")
	}
	number, evm := strings.CutPrefix(chain, "eip155:")
	if evm && number != strconv.FormatUint(d.ChainID, 10) {
		return problem.New(problem.Invalid, "chain-mismatch", "the message's chain is not the one that its signing domain is for")
	}
	return nil
}

// checkDomain compares the domain of a typed-data document with ours, field by field (A4).
func checkDomain(got any, want Domain) error {
	fields, ok := got.(map[string]any)
	if !ok {
		return mismatch("domain", "must be an object")
	}
	if err := exactKeys(fields, "name", "version", "chainId", "verifyingContract"); err != nil {
		return mismatch("domain", err.Error())
	}
	if fields["name"] != want.Name {
		return mismatch("domain.name", "is not this installation's")
	}
	if fields["version"] != want.Version {
		return mismatch("domain.version", "is not this installation's")
	}
	if id, err := readUint(fields["chainId"]); err != nil || id != want.ChainID {
		return mismatch("domain.chainId", "is not that of the message's chain")
	}
	if s, _ := fields["verifyingContract"].(string); !sameAddress(s, want.VerifyingContract) {
		return mismatch("domain.verifyingContract", "is not this installation's")
	}
	return nil
}

func mismatch(field, reason string) error {
	return problem.New(problem.Invalid, "typed-data-mismatch",
		"%s %s; sign the typed data that Aval describes for the message type", field, reason)
}

func sameAddress(s string, want common.Address) bool {
	b, err := decodeHex(s)
	return err == nil && len(b) == common.AddressLength && common.BytesToAddress(b) == want
}

// readUint takes a JSON number, or as wallets' libraries write it, a decimal or 0x string.
func readUint(v any) (uint64, error) {
	switch v := v.(type) {
	case uint64:
		return v, nil
	case interface{ Int64() (int64, error) }: // json.Number
		n, err := v.Int64()
		if err == nil && n < 0 {
			err = errNotUint
		}
		return uint64(n), err
	case string:
		if digits, ok := strings.CutPrefix(v, "0x"); ok {
			return strconv.ParseUint(digits, 16, 64)
		}
		if err := checkUint256(v); err != nil {
			return 0, err
		}
		return strconv.ParseUint(v, 10, 64)
	}
	return 0, errNotUint
}

var errNotUint = errors.New("must be a whole number, not negative")
