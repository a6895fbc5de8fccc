// Package keystoretest is the conformance suite of keystore.Store. A backend runs it with Run; nothing in it can be left out.
package keystoretest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/crypto"

	"github.com/avalhq/aval/internal/conform"
	"github.com/avalhq/aval/internal/custody/keystore"
	"github.com/avalhq/aval/internal/fault"
	"github.com/avalhq/aval/internal/typeid"
)

// Harness is a store under test.
type Harness struct {
	// Open opens the same store again, as the next process does.
	Open func(t testing.TB) keystore.Store
	// Faults are those that the store was opened with.
	Faults *fault.Points
}

// Run runs the whole suite; each test gets a store of its own.
func Run(t *testing.T, fresh func(t testing.TB) Harness) {
	conform.Suite[Harness]{
		Cases: map[string]func(*testing.T, Harness){
			"basic/SignsForItsPublicKey":      signs,
			"basic/UnknownKey":                unknown,
			"basic/TakenIdKeepsItsKey":        taken,
			"basic/OnlyDigests":               onlyDigests,
			"basic/IdsLeadNowhere":            malformed,
			"basic/A29NothingPrintsTheKey":    silent,
			"faults/OpensAfterRestart":        reopens,
			"faults/GenerateFails":            generateFails,
			"faults/GenerateReportedFailed":   generateReportedFailed,
			"concurrency/OneKeyOfManyCallers": together,
		},
		Lacks: map[conform.Tier]string{
			conform.Transactions: "a key is one sealed blob, and nothing changes with it",
		},
	}.Run(t, func(t *testing.T) Harness { return fresh(t) })
}

func newID() string { return typeid.New("key") }

func generate(t testing.TB, s keystore.Store) keystore.Handle {
	t.Helper()
	h, err := s.Generate(t.Context(), newID())
	if err != nil {
		t.Fatalf("generate: %v", err)
	}
	return h
}

// check signs and verifies from outside: shape, low s, recovery to the public key, the same bytes again.
func check(t testing.TB, h keystore.Handle, text string) {
	t.Helper()
	digest := sha256.Sum256([]byte(text))
	signature, err := h.Sign(t.Context(), digest[:])
	if err != nil || len(signature) != 65 || signature[64] > 1 {
		t.Fatalf("sign: %x, %v; want 65 bytes that end in 0 or 1", signature, err)
	}
	half := new(big.Int).Rsh(crypto.S256().Params().N, 1)
	if s := new(big.Int).SetBytes(signature[32:64]); s.Cmp(half) > 0 {
		t.Errorf("s is in the upper half of the order: %x", s)
	}
	public, err := crypto.Ecrecover(digest[:], signature)
	if err != nil || !bytes.Equal(public, h.Public()) {
		t.Errorf("the signature recovers to %x, %v; the key is %x", public, err, h.Public())
	}
}

func signs(t *testing.T, h Harness) {
	k := generate(t, h.Open(t))
	if len(k.Public()) != 65 || k.Public()[0] != 4 {
		t.Fatalf("the public key %x is not uncompressed", k.Public())
	}
	for i := range 50 {
		check(t, k, fmt.Sprint("digest ", i))
	}
	k.Public()[1] ^= 0xff
	check(t, k, "its public key is the caller's own copy")
}

func unknown(t *testing.T, h Harness) {
	if k, err := h.Open(t).Open(t.Context(), newID()); !errors.Is(err, keystore.ErrUnknown) {
		t.Fatalf("open a key that was never made: %v, %v; want key-unknown", k, err)
	}
}

func taken(t *testing.T, h Harness) {
	s := h.Open(t)
	k := generate(t, s)
	if _, err := s.Generate(t.Context(), k.ID()); !errors.Is(err, keystore.ErrExists) {
		t.Fatalf("generate a taken id: %v; want key-exists", err)
	}
	same(t, h.Open(t), k)
}

func same(t testing.TB, s keystore.Store, k keystore.Handle) {
	t.Helper()
	again, err := s.Open(t.Context(), k.ID())
	if err != nil || !bytes.Equal(again.Public(), k.Public()) || again.ID() != k.ID() {
		t.Fatalf("opened again: %v, %v; want %v", again, err, k)
	}
	check(t, again, "again")
}

func onlyDigests(t *testing.T, h Harness) {
	k := generate(t, h.Open(t))
	for _, size := range []int{0, 31, 33, 64} {
		if s, err := k.Sign(t.Context(), make([]byte, size)); !errors.Is(err, keystore.ErrDigest) {
			t.Errorf("sign %d bytes: %x, %v; want digest-invalid", size, s, err)
		}
	}
}

func malformed(t *testing.T, h Harness) {
	s := h.Open(t)
	for _, id := range []string{"", "..", "../x", "a/b", "a\x00b", "A", strings.Repeat("a", 200)} {
		if _, err := s.Generate(t.Context(), id); err == nil {
			t.Errorf("generated a key with the id %q", id)
		}
		if _, err := s.Open(t.Context(), id); err == nil {
			t.Errorf("opened a key with the id %q", id)
		}
	}
}

// silent prints handles in every way there is, alone and inside of other values. No two ways may differ from id and address.
func silent(t *testing.T, h Harness) {
	k := generate(t, h.Open(t))
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("canary", "key", k, "group", slog.GroupValue(slog.Any("inner", k)))
	slog.New(slog.NewTextHandler(&log, nil)).Info("canary", "key", k, "list", []keystore.Handle{k})
	encoded, err := json.Marshal(map[string]any{"key": k})
	if err != nil {
		t.Fatal(err)
	}
	shown := []string{log.String(), string(encoded)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%b", "%t"} {
		shown = append(shown, fmt.Sprintf(verb, k))
	}
	address := crypto.Keccak256(k.Public()[1:])[12:]
	for _, text := range shown {
		rest := strings.ReplaceAll(text, k.ID(), "")
		if !strings.Contains(text, k.ID()) || !strings.Contains(strings.ToLower(text), fmt.Sprintf("%x", address)) {
			t.Errorf("%q does not name the key", text)
		}
		if hex := longestHex(rest); hex > 40 {
			t.Errorf("%q holds %d hex digits in a row, an address has 40", text, hex)
		}
		if strings.Contains(text, "big.Int") || strings.Contains(text, "PrivateKey") {
			t.Errorf("%q shows the inside", text)
		}
	}
}

func longestHex(s string) (longest int) {
	row := 0
	for _, r := range strings.ToLower(s) {
		if row++; !strings.ContainsRune("0123456789abcdef", r) {
			row = 0
		}
		longest = max(longest, row)
	}
	return longest
}

func reopens(t *testing.T, h Harness) {
	s := h.Open(t)
	keys := []keystore.Handle{generate(t, s), generate(t, s), generate(t, s)}
	next := h.Open(t)
	for _, k := range keys {
		same(t, s, k)
		same(t, next, k)
	}
}

func generateFails(t *testing.T, h Harness) {
	s, id := h.Open(t), newID()
	h.Faults.Arm("keystore.generate.before", fault.Fail, 1)
	if _, err := s.Generate(t.Context(), id); !errors.Is(err, fault.ErrInjected) {
		t.Fatalf("generate: %v; want the injected fault", err)
	}
	if _, err := h.Open(t).Open(t.Context(), id); !errors.Is(err, keystore.ErrUnknown) {
		t.Fatalf("a key whose write failed: %v; want key-unknown", err)
	}
	generate(t, s)
}

func generateReportedFailed(t *testing.T, h Harness) {
	s, id := h.Open(t), newID()
	h.Faults.Arm("keystore.generate.after", fault.Fail, 1)
	if _, err := s.Generate(t.Context(), id); !errors.Is(err, fault.ErrInjected) {
		t.Fatalf("generate: %v; want the injected fault", err)
	}
	k, err := h.Open(t).Open(t.Context(), id)
	if err != nil {
		t.Fatalf("a key that was written and reported as failed: %v", err)
	}
	check(t, k, "written all the same")
	if _, err := s.Generate(t.Context(), id); !errors.Is(err, keystore.ErrExists) {
		t.Fatalf("generate it again: %v; want key-exists", err)
	}
}

func together(t *testing.T, h Harness) {
	s, id := h.Open(t), newID()
	var wg sync.WaitGroup
	handles := make([]keystore.Handle, 16)
	for i := range handles {
		wg.Go(func() {
			made, err := s.Generate(t.Context(), id)
			if errors.Is(err, keystore.ErrExists) {
				made, err = s.Open(t.Context(), id)
			}
			if err != nil {
				t.Errorf("generate or open: %v", err)
				return
			}
			check(t, made, fmt.Sprint("caller ", i))
			handles[i] = made
		})
	}
	wg.Wait()
	for _, k := range handles {
		if k != nil {
			same(t, h.Open(t), k)
		}
	}
}
