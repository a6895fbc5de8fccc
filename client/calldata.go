package client

import (
	"encoding/hex"
	"encoding/json"

	"github.com/avalhq/aval/internal/message/calldata"
)

// Calldata is the data of a call.v1: 0x and hex digits. The function is given by its signature in full types,
// "transfer(address,uint256)", its arguments as a JSON list: numbers as strings of digits, bytes as 0x and hex digits, tuples as
// lists. A message that holds function and args beside the data is accepted only when they agree.
func Calldata(function, args string) (string, error) {
	f, err := calldata.Parse(function)
	if err != nil {
		return "", err
	}
	data, err := f.Encode(json.RawMessage(args))
	if err != nil {
		return "", err
	}
	return "0x" + hex.EncodeToString(data), nil
}
