package schemas_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/avalhq/aval/internal/message"
	"github.com/avalhq/aval/schemas"
)

// The schemas are documentation: every property is described, and its examples are valid.
func TestEveryPropertyIsDocumented(t *testing.T) {
	catalog, err := message.NewCatalog(schemas.FS())
	if err != nil {
		t.Fatal(err)
	}
	domain := message.Domain{Name: "Aval", Version: "1", ChainID: 1, VerifyingContract: common.Address{1}}
	for _, name := range catalog.Types() {
		source, err := catalog.Schema(name)
		if err != nil {
			t.Fatal(err)
		}
		var schema struct {
			Title, Description string
			Properties         map[string]struct {
				Description string
				Examples    []string
			}
		}
		if err := json.Unmarshal(source, &schema); err != nil {
			t.Fatal(err)
		}
		if schema.Title == "" || !strings.HasSuffix(schema.Description, ".") {
			t.Errorf("%s has no title, or its description is no sentence", name)
		}
		body := map[string]any{}
		for property, p := range schema.Properties {
			if len(p.Description) < 20 || !strings.HasSuffix(p.Description, ".") || len(p.Examples) == 0 {
				t.Fatalf("%s: %s needs a description and examples", name, property)
			}
			body[property] = p.Examples[0]
		}
		for property, p := range schema.Properties {
			for _, body[property] = range p.Examples {
				raw, err := json.Marshal(body)
				if err != nil {
					t.Fatal(err)
				}
				m := message.Message{ID: message.NewID(), Type: name, Client: "cli_1", Chain: "eip155:1", Expires: time.Unix(1800000000, 0), Body: raw}
				if _, _, err := catalog.TypedData(m, domain); err != nil {
					t.Errorf("%s: an example of %s: %v", name, property, err)
				}
			}
		}
	}
}
