package evm

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/avalhq/aval/internal/chain"
	"github.com/avalhq/aval/internal/problem"
)

//go:embed errors.abi.json
var widespread []byte

// loadWidespread decodes the errors that many contracts share: ERC-6093's of tokens, and those of OpenZeppelin's contracts.
var loadWidespread = sync.OnceValues(func() ([]abi.Error, error) { return DeclaredErrors(widespread) })

// DeclaredErrors are the custom errors that a contract's ABI declares. The document is the ABI itself, or a compiler's
// artifact that has it as "abi".
func DeclaredErrors(document []byte) ([]abi.Error, error) {
	var artifact struct {
		ABI json.RawMessage `json:"abi"`
	}
	if err := json.Unmarshal(document, &artifact); err == nil && artifact.ABI != nil {
		document = artifact.ABI
	}
	parsed, err := abi.JSON(bytes.NewReader(document))
	if err == nil && !bytes.HasPrefix(bytes.TrimSpace(document), []byte("[")) { // null would pass
		err = errors.New("an ABI is a list")
	}
	if err != nil {
		return nil, problem.New(problem.Invalid, "abi-malformed", "this is no contract ABI, and no compiler's artifact with one: %w", err)
	}
	declared := make([]abi.Error, 0, len(parsed.Errors))
	for _, e := range parsed.Errors {
		declared = append(declared, e)
	}
	return declared, nil
}

// vocabulary is the custom errors that can be read, by selector.
type vocabulary map[[4]byte]abi.Error

func newVocabulary(declared []abi.Error) (vocabulary, error) {
	common, err := loadWidespread()
	if err != nil {
		return nil, err
	}
	v := vocabulary{}
	for _, e := range append(common[:len(common):len(common)], declared...) { // what is declared here counts
		v[[4]byte(e.ID[:4])] = e
	}
	return v, nil
}

// reason says in words what a contract reverted with: Error(string), Panic(uint256), a custom error by its ABI, or the first
// bytes of what nobody declared. It is as long as a log can bear, whatever the contract says.
func (v vocabulary) reason(data []byte) string {
	if len(data) < 4 {
		return "the contract gives no reason"
	}
	if text, err := abi.UnpackRevert(data); err == nil {
		if code, ok := panicCode(data); ok {
			return fmt.Sprintf("the contract panicked: %s (Panic %#x)", text, code)
		}
		return "the contract says " + strconv.Quote(shortened(text))
	}
	if declared, ok := v[[4]byte(data[:4])]; ok {
		if values, err := declared.Inputs.Unpack(data[4:]); err == nil {
			return "the contract says " + shortened(rendered(declared, values))
		}
	}
	return fmt.Sprintf("the contract's error %s, which no ABI here declares, with the data %s", hexutil.Encode(data[:4]), shortened(hexutil.Encode(data[4:])))
}

func panicCode(data []byte) (*big.Int, bool) {
	if hexutil.Encode(data[:4]) != "0x4e487b71" || len(data) < 36 { // Panic(uint256)
		return nil, false
	}
	return new(big.Int).SetBytes(data[4:36]), true
}

// rendered is the error as in source code: InsufficientBalance(available: 5, required: 7).
func rendered(e abi.Error, values []any) string {
	parts := make([]string, len(values))
	for i, value := range values {
		parts[i] = e.Inputs[i].Name + ": " + shownValue(value)
	}
	return e.Name + "(" + strings.Join(parts, ", ") + ")"
}

func shownValue(value any) string {
	switch v := value.(type) {
	case string:
		return strconv.Quote(shortened(v))
	case []byte:
		return shortened(hexutil.Encode(v))
	case fmt.Stringer: // addresses and numbers
		return v.String()
	}
	if r := reflect.ValueOf(value); r.Kind() == reflect.Array && r.Type().Elem().Kind() == reflect.Uint8 { // bytesN
		raw := make([]byte, r.Len())
		reflect.Copy(reflect.ValueOf(raw), r)
		return hexutil.Encode(raw)
	}
	return shortened(fmt.Sprint(value))
}

// revertReason reads the reason out of a node's answer.
func (n *Network) revertReason(err error) string {
	var data rpc.DataError
	if errors.As(err, &data) {
		if raw := revertData(data.ErrorData()); len(raw) >= 4 {
			return n.errors.reason(raw)
		}
	}
	return "the node says " + strconv.Quote(shortened(err.Error()))
}

// revertData finds the bytes: a hex string, or an object that holds one (Hardhat).
func revertData(data any) []byte {
	if object, ok := data.(map[string]any); ok {
		data = object["data"]
	}
	text, _ := data.(string)
	if _, after, found := strings.Cut(text, "Reverted "); found { // OpenEthereum, and what copies it
		text = after
	}
	raw, _ := hexutil.Decode(text)
	return raw
}

var _ chain.Replayer = (*Network)(nil)

// Replay runs a reverted transaction as a call: at the end of its block, and where it would pass there, before its block. Both
// are near to what it met and not the same: other transactions of the block can lie between.
func (n *Network) Replay(ctx context.Context, tx chain.Unsigned, status chain.Status) (string, error) {
	if status.GasUsed >= tx.Gas && tx.Gas > 0 {
		return fmt.Sprintf("it used up its %d units of gas", tx.Gas), nil
	}
	args, err := arguments(chain.Call{From: tx.From, To: tx.To, Value: tx.Value, Data: tx.Data})
	if err != nil {
		return "", err
	}
	gas := hexutil.Uint64(tx.Gas)
	args.Gas = &gas
	var answers [2]json.RawMessage
	elems := []rpc.BatchElem{request(&answers[0], "eth_call", args, hexutil.Uint64(status.Block))}
	if status.Block > 0 {
		elems = append(elems, request(&answers[1], "eth_call", args, hexutil.Uint64(status.Block-1)))
	}
	if err := n.batch(ctx, elems); err != nil {
		return "", err
	}
	var failures []error
	for _, elem := range elems {
		if elem.Error != nil && classify(elem.Error) == reverted {
			return n.revertReason(elem.Error), nil
		}
		failures = append(failures, elem.Error)
	}
	if err := errors.Join(failures...); err != nil {
		return "", n.unanswered("the replay of a reverted transaction", err)
	}
	return "run again at its block, it passes: something else in the block made it fail", nil
}
