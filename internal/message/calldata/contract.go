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

// Call is what call data says.
type Call struct {
	Function string          `json:"function"`
	Args     json.RawMessage `json:"args"` // a list
}

// Read reads call data as the ABI says. It is an error when its selector is that of no function in the ABI, or its arguments are not
// the one encoding of what the ABI says.
func (c Contract) Read(data []byte) (Call, error) {
	if len(data) < 4 {
		return Call{}, errors.New("the data is too short to name a function")
	}
	b, known := c.bySelector[[4]byte(data[:4])]
	switch {
	case !known:
		return Call{}, fmt.Errorf("the ABI has no function with the selector 0x%x", data[:4])
	case b.err != nil:
		return Call{}, fmt.Errorf("calls of %s cannot be read: %w", b.signature, b.err)
	}
	args, err := b.function.Decode(data)
	if err != nil {
		return Call{}, fmt.Errorf("as a call of %s %w", b.signature, err)
	}
	return Call{Function: b.signature, Args: args}, nil
}

// Check says why data is no call of the contract's: it cannot be read, or the message declares another function ("" declares none).
// No data calls nothing.
func (c Contract) Check(data []byte, declared string) error {
	if len(data) == 0 {
		return nil
	}
	call, err := c.Read(data)
	if err == nil && declared != "" && declared != call.Function {
		err = fmt.Errorf("the message declares %s, and the ABI says that the data calls %s", declared, call.Function)
	}
	return err
}
