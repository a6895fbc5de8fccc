package calldata_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/avalhq/aval/internal/message/calldata"
)

// TestA12ABoundABIKnowsItsCalls: what is no call by the ABI is told, whatever the message says that it is.
func TestA12ABoundABIKnowsItsCalls(t *testing.T) {
	document := `[{"type":"function","name":"transfer","inputs":[{"name":"to","type":"address"},{"name":"amount","type":"uint256"}]},
		{"type":"function","name":"close","inputs":[]},{"type":"event","name":"Closed","inputs":[]}]`
	contract, err := calldata.ParseContract([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := calldata.ParseContract([]byte(`{"abi":` + document + `}`)); err != nil {
		t.Errorf("an artifact: %v", err)
	}
	encode := func(signature, args string) []byte {
		f, err := calldata.Parse(signature)
		if err != nil {
			t.Fatal(err)
		}
		data, err := f.Encode(json.RawMessage(args))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	pay := encode("transfer(address,uint256)", `["0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed","7"]`)
	dirty := append([]byte(nil), pay...)
	dirty[5] = 1
	for name, c := range map[string]struct {
		data     []byte
		declared string
		want     string
	}{
		"a call":                    {pay, "", ""},
		"declared":                  {pay, "transfer(address,uint256)", ""},
		"no data":                   {nil, "", ""},
		"no arguments":              {encode("close()", `[]`), "close()", ""},
		"another function":          {encode("mint(address,uint256)", `["0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed","7"]`), "", "no function with the selector 0x40c10f19"},
		"another declaration":       {pay, "many_msg_babbage(bytes1)", "the ABI says that the data calls transfer(address,uint256)"},
		"too short":                 {pay[:3], "", "too short"},
		"a part of the arguments":   {pay[:40], "", "does not decode"},
		"bytes too many":            {append(append([]byte(nil), pay...), 0), "", "not the one encoding"},
		"dirty padding":             {dirty, "", "not the one encoding"},
		"arguments where none are ": {append(encode("close()", `[]`), pay[4:]...), "", "not the one encoding"},
	} {
		if err := contract.Check(c.data, c.declared); c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
	for _, wrong := range []string{"", "null", "7", `{"abi":7}`, `[{"type":"function","name":"f","inputs":[{"type":"no"}]}]`} {
		if _, err := calldata.ParseContract([]byte(wrong)); err == nil && wrong != "null" {
			t.Errorf("%q is read as an ABI", wrong)
		}
	}
}
