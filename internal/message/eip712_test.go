package message

import (
	"encoding/hex"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
)

// The vectors are those of the EIP-712 specification: assets/eip-712/Example.js and Example.sol.
func TestSpecificationExample(t *testing.T) {
	domainStruct, err := newFlat(domainType, domainFields())
	if err != nil {
		t.Fatal(err)
	}
	c := &Catalog{domain: domainStruct}
	person, err := newFlat("Person", []Field{{"name", "string"}, {"wallet", "address"}})
	if err != nil {
		t.Fatal(err)
	}
	hashOf := func(name, wallet string) common.Hash {
		hash, err := person.hash([]any{name, wallet})
		if err != nil {
			t.Fatal(err)
		}
		return hash
	}
	is := func(what string, got common.Hash, want string) {
		t.Helper()
		if hex.EncodeToString(got[:]) != want {
			t.Errorf("%s is %x, want %s", what, got, want)
		}
	}
	is("type hash of Person", person.typeHash, "b9d8c78acf9b987311de6c7b45bb6a9c8e1bf361fa7fd3467a2163f994c79500")
	from := hashOf("Cow", "0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826")
	to := hashOf("Bob", "0xbBbBBBBbbBBBbbbBbbBbbbbBBbBbbbbBbBbbBBbB")
	is("hash of Cow", from, "fc71e5fa27ff56c350aa531bc129ebdf613b772b6604664f5d8dbe21b85eb0c8")
	is("hash of Bob", to, "cd54f074a4af31b4411ff6a60c9719dbd559c221c8ac3492d9d872b041d703d1")

	// Mail is nested, which flat is not: its own encoding is put together here.
	typeHash := crypto.Keccak256([]byte("Mail(Person from,Person to,string contents)Person(string name,address wallet)"))
	mail := crypto.Keccak256Hash(typeHash, from[:], to[:], crypto.Keccak256([]byte("Hello, Bob!")))
	is("hash of the mail", mail, "c52c0ee5d84264471806290a3f2c4cecfc5490626bf912d01f240d7a274b371e")
	d := Domain{Name: "Ether Mail", Version: "1", ChainID: 1, VerifyingContract: common.HexToAddress("0xCcCCccccCCCCcCCCCCCcCcCccCcCCCcCcccccccC")}
	digest, err := c.digest(d, mail)
	if err != nil {
		t.Fatal(err)
	}
	is("digest", digest, "be609aee343fb3c4b28e1df9e632fca64fcfaede20f02e86244efddf30957bd2")

	sig, err := parseSignature("0x4355c47d63924e8a72e509b65029052eb6c299d53a04e167c5775fd466751c9d07299936d304c153f6443dfa05f40ff007d72911b6f72307f996231605b915621c")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := sig.recover(digest)
	if want := common.HexToAddress("0xCD2a3d9F938E13CD947Ec05AbC7FE734Df8DD826"); err != nil || signer != want {
		t.Errorf("the signer is %s, %v, want %s", signer, err, want)
	}
}

// The texts are those of RFC 8785, sections 3.2.2 (strings and literals) and 3.2.3 (sorting).
func TestRFC8785(t *testing.T) {
	for text, want := range map[string]string{
		`{"string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null, true, false]}`:                                                                                                                  `{"literals":[null,true,false],"string":"€$\u000f\nA'B\"\\\\\"/"}`,
		`{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}`: "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u0080\":\"Control\",\"ö\":\"Latin Small Letter O With Diaeresis\",\"€\":\"Euro Sign\",\"😀\":\"Emoji: Grinning Face\",\"\ufb33\":\"Hebrew Letter Dalet With Dagesh\"}",
		`[9007199254740992, -9007199254740992, 0, 10]`: `[9007199254740992,-9007199254740992,0,10]`,
		`"<&>\u2028"`: "\"<&>\u2028\"",
	} {
		v, err := parseStrict([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := canonicalJSON(v); err != nil || string(got) != want {
			t.Errorf("%s becomes %s, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{`333333333.33333329`, `1E30`, `4.50`, `2e-3`, `0.000000000000000000000000001`, `9007199254740993`, `-9007199254740993`, `-0`, `"\udead"`} {
		if v, err := parseStrict([]byte(text)); err == nil {
			t.Errorf("%s was accepted as %v", text, v)
		}
	}
}

// EIP-191 version 0x45: the digest of "hello world" as web3.eth.accounts.hashMessage documents it ("Hello World").
func TestPersonalMessage(t *testing.T) {
	if got := personal([]byte("Hello World")); got != common.HexToHash("0xa1de988600a42c4b4ab089b619297c17d53cffae5d5120d82d8a92d0bb3b78f2") {
		t.Errorf("the digest is %s", got)
	}
}
