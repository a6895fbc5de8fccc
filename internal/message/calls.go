package message

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/avalhq/aval/internal/message/calldata"
	"github.com/avalhq/aval/internal/problem"
)

// declaration names the properties of a body that hold call data, and what a person is shown of it: the function that is
// called and its arguments. Both are optional in a message.
type declaration struct {
	Data     string `json:"data"`
	Function string `json:"function"`
	Args     string `json:"args"`
}

// check looks whether the properties are there, with the types that they need.
func (d declaration) check(body []property) error {
	for name, typ := range map[string]string{d.Data: "bytes", d.Function: "string", d.Args: "string"} {
		if !slices.ContainsFunc(body, func(p property) bool { return p.Name == name && p.Type == typ }) {
			return fmt.Errorf("there is no field %q of type %s", name, typ)
		}
	}
	return nil
}

// checkCall holds call data against the function and arguments that the message declares: what is read and approved is what
// is called (A12).
func (t *messageType) checkCall(body map[string]any) error {
	if t.call == nil {
		return nil
	}
	signature, _ := body[t.call.Function].(string)
	args, _ := body[t.call.Args].(string)
	if signature == "" && args == "" {
		return nil
	}
	if signature == "" {
		return undeclared("body.%s has arguments, and body.%s does not say of what", t.call.Args, t.call.Function)
	}
	function, err := calldata.Parse(signature)
	if err != nil {
		return undeclared("body.%s: %w", t.call.Function, err)
	}
	data, err := decodeHex(body[t.call.Data])
	if err != nil {
		return undeclared("body.%s %w", t.call.Data, err)
	}
	if args == "" {
		if _, err := function.Decode(data); err != nil {
			return undeclared("body.%s: %w", t.call.Data, err)
		}
		return nil
	}
	meant, err := function.Encode(json.RawMessage(args))
	if err != nil {
		return undeclared("body.%s: %w", t.call.Args, err)
	}
	if !bytes.Equal(meant, data) {
		return undeclared("body.%s is not the encoding of the arguments in body.%s", t.call.Data, t.call.Args)
	}
	return nil
}

func undeclared(format string, args ...any) error {
	return problem.New(problem.Invalid, "calldata-mismatch", "the call data is not what the message declares: "+format, args...)
}
