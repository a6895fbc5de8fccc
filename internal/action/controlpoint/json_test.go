package controlpoint

import (
	"bytes"
	"encoding/json"
	"testing"
)

// FuzzParse: no answer makes the reader panic; what it takes is JSON, and is the same when written and read again.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{`{"a":[1,2,{"b":null}]}`, `[[[`, `"\ud800"`, `{"a":1,"a":2}`, "1e999999", "{]", ` "x" `} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, err := parse(raw)
		if err != nil {
			return
		}
		once, err := encode(v)
		if err != nil || !json.Valid(raw) {
			t.Fatalf("%q was taken: %v", raw, err)
		}
		again, err := parse(once)
		if err != nil {
			t.Fatalf("%q became %q: %v", raw, once, err)
		}
		if twice, err := encode(again); err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%q became %q and then %q: %v", raw, once, twice, err)
		}
	})
}
