package telemetry

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
)

// Redacted stands where a secret was.
const Redacted = "[redacted]"

// secretWords are what the name of a secret has in it. "key" is not among them: key ids and public keys are for reading.
var secretWords = []string{"secret", "seed", "passphrase", "password", "mnemonic", "token", "authorization", "private", "cookie", "credential"}

var (
	// A private key in hex: 32 bytes. So is a hash, hence only under a name that has "key" in it.
	privateKey = regexp.MustCompile(`^(0x)?[0-9a-fA-F]{64}$`)
	address    = regexp.MustCompile(`^0x[0-9a-fA-F]{40}$`)
	// What gives itself away in running text: a bearer token, a JWT, a user's password in a URL, and "seed: …" or
	// "private key = 0x…" up to the next blank.
	bearer   = regexp.MustCompile(`(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}`)
	jwt      = regexp.MustCompile(`\beyJ[\w-]+\.[\w-]+\.[\w-]*`)
	userinfo = regexp.MustCompile(`://[^/\s:@]+:[^/\s@]+@`)
	assigned = regexp.MustCompile(`(?i)\b(private[ _-]?key|secret|seed|mnemonic|passphrase|password|token|authorization)(["']?\s*[:=]\s*)("[^"]*"|\S+)`)
)

// redact is the ReplaceAttr of the log: it sees each attribute, after LogValue, with the groups that it is in.
func redact(groups []string, a slog.Attr) slog.Attr {
	secret := secretName(a.Key) || slices.ContainsFunc(groups, secretName)
	switch a.Value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(cleanField(a.Key, a.Value.String(), secret))
	case slog.KindAny:
		a.Value = slog.AnyValue(cleanAny(a.Key, a.Value.Any(), secret))
	default: // numbers and times
	}
	return a
}

// cleanAny cleans a value in the form in which it would be logged.
func cleanAny(name string, value any, secret bool) (clean any) {
	defer func() {
		if recover() != nil { // a method of the value panicked, mostly for a nil pointer
			clean = fmt.Sprintf("(a broken %T)", value)
		}
	}()
	switch value := value.(type) {
	case nil, slog.Level:
		return value
	case error:
		return cleanField(name, value.Error(), secret)
	case []byte:
		return fmt.Sprintf("(%d bytes)", len(value))
	case fmt.Stringer:
		return cleanField(name, value.String(), secret)
	case encoding.TextMarshaler:
		text, _ := value.MarshalText()
		return cleanField(name, string(text), secret)
	}
	if secret {
		return Redacted
	}
	return cleanJSON(name, value)
}

// secretName says whether a field of this name holds a secret: "seed", "clientSecret", "Authorization", "private_key".
func secretName(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc(secretWords, func(word string) bool { return strings.Contains(name, word) })
}

// cleanField cleans the text of a field. Its name says whether 32 bytes of hex are a key or a hash, and a "token" that is an
// address is a contract.
func cleanField(name, text string, secret bool) string {
	switch {
	case secret && !address.MatchString(text):
		return Redacted
	case privateKey.MatchString(text) && strings.Contains(strings.ToLower(name), "key"):
		return Redacted
	}
	return clean(text)
}

// clean removes what gives itself away as a secret from running text. A cheap look comes before each costly one, as every
// text of every line passes here.
func clean(text string) string {
	if strings.ContainsAny(text, ":=") {
		text = assigned.ReplaceAllString(text, "${1}${2}"+Redacted)
		text = userinfo.ReplaceAllString(text, "://"+Redacted+"@")
	}
	if strings.Contains(text, "eyJ") {
		text = jwt.ReplaceAllString(text, Redacted)
	}
	if lower := strings.ToLower(text); strings.Contains(lower, "bearer") || strings.Contains(lower, "basic") {
		text = bearer.ReplaceAllString(text, "${1} "+Redacted)
	}
	return text
}

// cleanJSON cleans a value without a text of its own, field by field.
func cleanJSON(name string, value any) any {
	text, err := json.Marshal(value)
	if err != nil {
		return "(not JSON: " + clean(err.Error()) + ")"
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return Redacted
	}
	return cleanTree(name, tree)
}

func cleanTree(name string, tree any) any {
	switch node := tree.(type) {
	case string:
		return cleanField(name, node, secretName(name))
	case []any:
		for i := range node {
			node[i] = cleanTree(name, node[i])
		}
	case map[string]any:
		for key := range node {
			node[key] = cleanTree(key, node[key])
			if _, text := node[key].(string); secretName(key) && !text {
				node[key] = Redacted
			}
		}
	}
	return tree
}
