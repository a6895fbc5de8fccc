// Package tasktoken makes task tokens and reads them back.
//
// A task token is a capability: who has it can answer one attempt of one Task of one message, and nothing else. It names
// message, state and the number of the attempt's call, under a MAC (HMAC-SHA-256) with a key of the installation. So it
// cannot be guessed; it is the same when it is made again after a crash; and it is stored nowhere: neither the database nor
// a copy of it can answer a Task (I25). Who has the key, can. A changed key makes every token worthless that is out.
package tasktoken

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"log/slog"

	"github.com/avalhq/aval/internal/message"
)

// KeySize is the length of a Maker's key in bytes.
const KeySize = 32

// format begins every token.
const format = "avt1_"

// Call is what a token stands for.
type Call struct {
	Message message.ID
	State   string // with the way into its branch: with the message the key of the Task's effect
	Number  int    // of the attempt's call, within the message
}

// Maker makes and reads tokens. Printed in any way it shows nothing.
type Maker struct{ mac func([]byte) []byte }

// New takes the key.
func New(key []byte) (*Maker, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("the key of task tokens has %d bytes, not %d", len(key), KeySize)
	}
	own := append([]byte(nil), key...)
	return &Maker{mac: func(content []byte) []byte {
		h := hmac.New(sha256.New, own)
		_, _ = h.Write([]byte("aval task token 1\n")) // a hash takes everything
		_, _ = h.Write(content)
		return h.Sum(nil)
	}}, nil
}

// Make gives the token of a call.
func (m *Maker) Make(c Call) string {
	content := binary.AppendUvarint(nil, uint64(c.Number))
	content = binary.AppendUvarint(content, uint64(len(c.Message)))
	content = append(append(content, c.Message...), c.State...)
	return format + base64.RawURLEncoding.EncodeToString(append(m.mac(content), content...))
}

// Read gives the call of a token that this Maker's key made, and false for every other text.
func (m *Maker) Read(token string) (c Call, ok bool) {
	if len(token) < len(format) || token[:len(format)] != format {
		return c, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token[len(format):])
	if err != nil || len(raw) < sha256.Size || !hmac.Equal(raw[:sha256.Size], m.mac(raw[sha256.Size:])) {
		return c, false
	}
	content := raw[sha256.Size:]
	number, n := binary.Uvarint(content)
	length, k := binary.Uvarint(content[max(n, 0):])
	if n <= 0 || k <= 0 || length > uint64(len(content)-n-k) {
		return c, false
	}
	content = content[n+k:]
	return Call{Message: message.ID(content[:length]), State: string(content[length:]), Number: int(number)}, true
}

// String hides the key.
func (m *Maker) String() string { return "task tokens" }

// LogValue hides the key.
func (m *Maker) LogValue() slog.Value { return slog.StringValue(m.String()) }
