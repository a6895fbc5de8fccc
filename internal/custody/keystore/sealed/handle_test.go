package sealed

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"
)

// TestA29CanaryKeyIsNowhere prints a known key in every way and looks for its bytes in every notation.
func TestA29CanaryKeyIsNowhere(t *testing.T) {
	secret := crypto.Keccak256([]byte("canary"))
	private, err := crypto.ToECDSA(secret)
	if err != nil {
		t.Fatal(err)
	}
	h := newHandle("key_canary", private)
	holder := struct {
		Key  *Handle
		Any  any
		Flat Handle
		deep *Handle
	}{h, h, *h, h}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%b", "%o", "%c", "%U", "%p"} {
		fmt.Fprintf(&out, verb+"\n", h)
		fmt.Fprintf(&out, verb+"\n", *h)
		fmt.Fprintf(&out, verb+"\n", holder)
		fmt.Fprintf(&out, verb+"\n", []any{h, &h})
	}
	for _, handler := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
		slog.New(handler).Info("canary", "key", h, "flat", *h, "holder", holder)
	}
	for _, v := range []any{h, *h, []*Handle{h}} {
		encoded, err := json.Marshal(v)
		if err != nil {
			t.Logf("marshal %T: %v", v, err)
		}
		out.Write(encoded)
	}
	number := new(big.Int).SetBytes(secret)
	decimal := strings.Trim(fmt.Sprint(secret[:6]), "[]")
	for notation, canary := range map[string]string{
		"raw": string(secret), "hex": hex.EncodeToString(secret[:6]), "decimal": decimal, "integer": number.String(),
		"Go": strings.ReplaceAll(strings.Trim(fmt.Sprintf("%#v", secret[:6]), "[]byte{}"), "}", ""), "base64": base64.StdEncoding.EncodeToString(secret[:6]),
		"words": fmt.Sprintf("%d", number.Bits()[0]), "hex words": fmt.Sprintf("%x", number.Bits()[0]),
	} {
		if strings.Contains(strings.ToLower(out.String()), strings.ToLower(canary)) {
			t.Errorf("the private key is shown as %s", notation)
		}
	}
	if !strings.Contains(out.String(), h.address) {
		t.Error("nothing was printed at all")
	}
}
