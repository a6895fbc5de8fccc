package typeid

import (
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// The pairs are from the valid vectors of the TypeID specification.
func TestVectors(t *testing.T) {
	for _, v := range []struct{ text, uuid string }{
		{"x_00000000000000000000000000", "00000000-0000-0000-0000-000000000000"},
		{"x_0000000000000000000000000g", "00000000-0000-0000-0000-000000000010"},
		{"x_7zzzzzzzzzzzzzzzzzzzzzzzzz", "ffffffff-ffff-ffff-ffff-ffffffffffff"},
		{"x_0123456789abcdefghjkmnpqrs", "0110c853-1d09-52d8-d73e-1194e95b5f19"},
		{"prefix_01h455vb4pex5vsknk084sn02q", "01890a5d-ac96-774b-bcce-b302099a8057"},
	} {
		id := uuid.MustParse(v.uuid)
		prefix := v.text[:len(v.text)-27]
		if got := Format(prefix, id); got != v.text {
			t.Errorf("Format(%s) = %s, want %s", v.uuid, got, v.text)
		}
		if got, err := Parse(prefix, v.text); err != nil || got != id {
			t.Errorf("Parse(%s) = %s, %v, want %s", v.text, got, err, v.uuid)
		}
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var id uuid.UUID
		copy(id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "uuid"))
		if got, err := Parse("msg", Format("msg", id)); err != nil || got != id {
			t.Fatalf("%s came back as %s, %v", id, got, err)
		}
	})
}

func TestRefused(t *testing.T) {
	for _, s := range []string{"", "msg_", "msg_8zzzzzzzzzzzzzzzzzzzzzzzzz", "cli_00000000000000000000000000", "msg_0000000000000000000000000u", "msg_0000000000000000000000000G", "msg_000000000000000000000000000"} {
		if _, err := Parse("msg", s); err == nil {
			t.Errorf("Parse(%q) was accepted", s)
		}
	}
}
