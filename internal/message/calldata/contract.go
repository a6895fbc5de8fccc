package calldata

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/accounts/abi"
)

// Contract is the functions of one contract, by its ABI. It is immutable.
type Contract struct {
	bySelector map[[4]byte]bound
}

// bound is a function of the ABI; err is why its arguments cannot be read.
type bound struct {
	signature string
	function  Function
	err       error
}

// ParseContract reads an ABI, or a compiler's artifact that has it as "abi".
func ParseContract(document []byte) (Contract, error) {
	var artifact struct {
		ABI json.RawMessage `json:"abi"`
	}
	if err := json.Unmarshal(document, &artifact); err == nil && artifact.ABI != nil {
		document = artifact.ABI
	}
	parsed, err := abi.JSON(bytes.NewReader(document))
	if err != nil {
		return Contract{}, fmt.Errorf("this is no contract ABI, and no compiler's artifact with one: %w", err)
	}
	c := Contract{bySelector: make(map[[4]byte]bound, len(parsed.Methods))}
	for _, method := range parsed.Methods {
		b := bound{signature: method.Sig}
		b.function, b.err = Parse(method.Sig)
		c.bySelector[[4]byte(method.ID)] = b
	}
	return c, nil
}

// Check says why data is no call of the contract's: its selector is that of no function in the ABI, its arguments are not the
// one encoding of what the ABI says, or the message declares another function ("" declares none). No data calls nothing.
func (c Contract) Check(data []byte, declared string) error {
	if len(data) == 0 {
		return nil
	}
	if len(data) < 4 {
		return errors.New("the data is too short to name a function")
	}
	b, known := c.bySelector[[4]byte(data[:4])]
	switch {
	case !known:
		return fmt.Errorf("the ABI has no function with the selector 0x%x", data[:4])
	case declared != "" && declared != b.signature:
		return fmt.Errorf("the message declares %s, and the ABI says that the data calls %s", declared, b.signature)
	case b.err != nil:
		return fmt.Errorf("calls of %s cannot be read: %w", b.signature, b.err)
	}
	if _, err := b.function.Decode(data); err != nil {
		return fmt.Errorf("as a call of %s %w", b.signature, err)
	}
	return nil
}
