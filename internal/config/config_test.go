package config_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/avalhq/aval/internal/config"
	"github.com/avalhq/aval/internal/problem"
)

func TestParseKeepsDefaultsForWhatIsNotSaid(t *testing.T) {
	c, err := config.Parse(config.Default(), "aval.yaml", []byte("chain:\n  confirmations: 12\nmessages: {id_expiry: 5s}\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.Chain.Confirmations, want.Messages.IDExpiry = 12, 5*time.Second
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v", c)
	}
	for _, nothing := range []string{"", "\n  \n", "# a comment\n"} {
		if c, err := config.Parse(config.Default(), "aval.yaml", []byte(nothing)); err != nil || !reflect.DeepEqual(c, config.Default()) {
			t.Errorf("%q: %v", nothing, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"typing error":       {"api:\n  lisen: 127.0.0.1:1\n", "line 2: there is no field api.lisen; did you mean api.listen?"},
		"hyphen":             {"chain:\n  Dev:\n    port: 1\n", "line 2: there is no field chain.Dev; did you mean chain.dev?"},
		"hyphenated":         {"auth: {dev-issuer: false}", "did you mean auth.dev_issuer?"},
		"in the wrong group": {"data: x\nin_flight: 3\n", "line 2: there is no field in_flight; did you mean controller.in_flight?"},
		"unheard of":         {"custody:\n  hardware: yes\n", "line 2: there is no field custody.hardware; custody has key_file, passphrase"},
		"not a number":       {"chain:\n  id: main\n", "line 2: cannot unmarshal"},
		"bare duration":      {"api:\n  timeout: 5\n", "line 2: cannot unmarshal"},
		"null":               {"data:\n", "line 1: data has no value"},
		"group as a value":   {"chain: http://x\n", "line 1: chain is a group of fields: url, id"},
		"value as a group":   {"data: {folder: x}\n", "line 1: data takes one value"},
		"list":               {"- data\n", "line 1: the file is a group of fields: data"},
		"twice":              {"data: x\ndata: y\n", "line 2"},
		"two documents":      {"data: x\n---\ndata: y\n", "more than one YAML document"},
		"not YAML":           {"data: [x\n", "line 1"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Parse(config.Default(), "aval.yaml", []byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "aval.yaml: ") {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if p := problem.From(err); p.Code != "config-malformed" || p.Kind != problem.Invalid {
				t.Errorf("got the problem %s/%s", p.Kind, p.Code)
			}
		})
	}
}

func TestSetOverridesOneField(t *testing.T) {
	c := config.Default()
	for field, value := range map[string]string{"chain.dev.block_time": "250ms", "auth.dev_issuer": "false", "data": "elsewhere", "chain.id": "5"} {
		if err := c.Set(field, value); err != nil {
			t.Fatal(err)
		}
	}
	want := config.Default()
	want.Chain.Dev.BlockTime, want.Auth.DevIssuer, want.Data, want.Chain.ID = 250*time.Millisecond, false, "elsewhere", 5
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v", c)
	}
	for field, complaint := range map[string]string{"chain.confirmation": "did you mean chain.confirmations?", "chain": "group of fields", "chain.id": "cannot unmarshal"} {
		err := c.Set(field, "deep")
		if err == nil || !strings.Contains(err.Error(), complaint) || strings.Contains(err.Error(), "line") {
			t.Errorf("Set(%s): got %v", field, err)
		}
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("a refused Set changed the configuration: %+v", c)
	}
}

func TestValidateNamesFieldAndRemedy(t *testing.T) {
	for want, breakIt := range map[string]func(*config.Config){
		"data is empty":                            func(c *config.Config) { c.Data = "" },
		"api.listen is \"8080\": set host:port":    func(c *config.Config) { c.API.Listen = "8080" },
		"api.max_body is 10":                       func(c *config.Config) { c.API.MaxBody = 10 },
		"api.max_ids":                              func(c *config.Config) { c.API.MaxIDs = 0 },
		"api.max_streams is 0":                     func(c *config.Config) { c.API.MaxStreams = 0 },
		"api.max_client_streams is 0":              func(c *config.Config) { c.API.MaxClientStreams = 0 },
		"api.timeout is 0s":                        func(c *config.Config) { c.API.Timeout = 0 },
		"auth.issuer is not a URL":                 func(c *config.Config) { c.Auth.Issuer = "login.example" },
		"auth.subject is empty":                    func(c *config.Config) { c.Auth.Subject = "" },
		"auth.audience is empty":                   func(c *config.Config) { c.Auth.Audience = "" },
		"auth.dev_issuer is on while":              func(c *config.Config) { c.API.Listen = "0.0.0.0:8080" },
		"messages.id_expiry":                       func(c *config.Config) { c.Messages.IDExpiry = 0 },
		"chain.id is 0":                            func(c *config.Config) { c.Chain.ID = 0 },
		"chain.confirmations is 0":                 func(c *config.Config) { c.Chain.Confirmations = 0 },
		"chain.url is not a URL":                   func(c *config.Config) { c.Chain.URL = config.Endpoints{"ftp://node/secret-access-key"} },
		"chain.url[1] is there twice":              func(c *config.Config) { c.Chain.URL = config.Endpoints{"/a.ipc", "/a.ipc"} },
		"chain.url[0] is empty":                    func(c *config.Config) { c.Chain.URL = config.Endpoints{"", "/a.ipc"} },
		"chain.quorum is 2 and":                    func(c *config.Config) { c.Chain.Quorum = 2 },
		"chain.max_lag is 0":                       func(c *config.Config) { c.Chain.MaxLag = 0 },
		"chain.poll is 0s":                         func(c *config.Config) { c.Chain.Poll = 0 },
		"chain.timeout is 1ms":                     func(c *config.Config) { c.Chain.Timeout = time.Millisecond },
		"chain.fees.kind is \"fast\"":              func(c *config.Config) { c.Chain.Fees.Kind = "fast" },
		"chain.fees.headroom is 9":                 func(c *config.Config) { c.Chain.Fees.Headroom = 9 },
		"chain.fees.blocks is 0":                   func(c *config.Config) { c.Chain.Fees.Blocks = 0 },
		"chain.fees.gas_margin is 0":               func(c *config.Config) { c.Chain.Fees.GasMargin = 0 },
		"chain.fees.min_tip is \"1\": write":       func(c *config.Config) { c.Chain.Fees.MinTip = "1" },
		"chain.fees.default.budget is \"0.5 wei\"": func(c *config.Config) { c.Chain.Fees.Default.Budget = "0.5 wei" },
		"chain.fees.default.percentile is 0":       func(c *config.Config) { c.Chain.Fees.Default.Percentile = 0 },
		"chain.fees.types.call.v1.percentile":      func(c *config.Config) { c.Chain.Fees.Types["call.v1"] = config.FeeType{Percentile: 100} },
		"chain.dev.port is 65536":                  func(c *config.Config) { c.Chain.Dev.Port = 65536 },
		"chain.dev.block_time is 0s":               func(c *config.Config) { c.Chain.Dev.BlockTime = 0 },
		"both empty":                               func(c *config.Config) { c.Custody.KeyFile = "" },
		"both set":                                 func(c *config.Config) { c.Custody.Passphrase = "prompt" },
		"lies in the data folder":                  func(c *config.Config) { c.Custody.KeyFile = "./aval-data/keys/kek" },
		"names a file in the data folder":          func(c *config.Config) { c.Custody = config.Custody{Passphrase: "file:aval-data/p"} },
		"never the passphrase itself":              func(c *config.Config) { c.Custody = config.Custody{Passphrase: "secret-access-key"} },
		"controller.loops is 0":                    func(c *config.Config) { c.Controller.Loops = 0 },
		"controller.in_flight is 1":                func(c *config.Config) { c.Controller.InFlight = 1 },
		"telemetry.log_level is \"loud\"":          func(c *config.Config) { c.Telemetry.LogLevel = "loud" },
		"telemetry.otlp_endpoint":                  func(c *config.Config) { c.Telemetry.OTLPEndpoint = "collector:4318" },
	} {
		c := config.Default()
		breakIt(&c)
		err := c.Validate()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
			continue
		}
		if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "secret-access-key") {
			t.Errorf("one fault should give one line without secrets, got %q", err)
		}
	}
}

func TestValidateAcceptsWhatWorks(t *testing.T) {
	for name, set := range map[string]map[string]string{
		"nobody calls":       {"auth.dev_issuer": "false"}, // a process without the role api
		"own issuer, public": {"auth.dev_issuer": "false", "auth.issuer": "https://login.example/realm", "api.listen": "0.0.0.0:443"},
		"remote chain":       {"chain.url": "wss://node.example/key", "chain.dev.block_time": "0s", "chain.id": "1", "chain.max_fee": "40"},
		"IPC":                {"chain.url": "/run/geth.ipc"},
		"passphrase":         {"custody.key_file": "", "custody.passphrase": "env:AVAL_PASSPHRASE"},
		"IPv6 loopback":      {"api.listen": "[::1]:0"},
		"sibling folder":     {"custody.key_file": "aval-data-keys/kek"},
	} {
		c := config.Default()
		for field, value := range set {
			if err := c.Set(field, value); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if err := c.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestValidateTellsAllAtOnce(t *testing.T) {
	c := config.Default()
	c.Data, c.Chain.ID = "", 0
	if err := c.Validate(); strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("two faults should give two lines, got %q", err)
	}
}

func TestEndpointHidesItsAccessKey(t *testing.T) {
	c := config.Default()
	c.Chain.URL = config.Endpoints{"https://user:hidden@node.example/v3/secret-access-key?token=x"}
	encoded, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{fmt.Sprint(c), fmt.Sprintf("%+v", c), string(encoded)} {
		if strings.Contains(shown, "secret-access-key") || strings.Contains(shown, "hidden") || !strings.Contains(shown, "https://node.example") {
			t.Errorf("shown as %s", shown)
		}
	}
	if got := config.Endpoint("/run/geth.ipc").String(); got != "/run/geth.ipc" {
		t.Errorf("a path is shown as %s", got)
	}
}

func TestCoinsHaveAUnit(t *testing.T) {
	for coin, want := range map[config.Coin]string{"30 gwei": "30000000000", "0.002 ether": "2000000000000000", "7 wei": "7", "0.000000001 gwei": "1"} {
		if got, err := coin.Wei(); err != nil || got.String() != want {
			t.Errorf("%s is %s wei (%v), not %s", coin, got, err, want)
		}
	}
	if got, err := config.Coin("").Wei(); got != nil || err != nil {
		t.Errorf("nothing is %s wei (%v)", got, err)
	}
	for _, coin := range []config.Coin{"30", "-1 gwei", "1e3 wei", "1/2 ether", "1.5 wei", "1 Ether", "1  gwei", " 1 gwei", "0.0000000000000000001 ether"} {
		if got, err := coin.Wei(); err == nil {
			t.Errorf("%q is %s wei", coin, got)
		}
	}
}

func TestFeesOfAMessageType(t *testing.T) {
	c, err := config.Parse(config.Default(), "aval.yaml", []byte("chain:\n  fees:\n    types:\n      transfer.v1: {budget: 0.01 ether, percentile: 90}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Chain.Fees.Types["transfer.v1"]; got != (config.FeeType{Percentile: 90, Budget: "0.01 ether"}) {
		t.Errorf("got %+v", got)
	}
	for text, want := range map[string]string{
		"chain: {fees: {types: {transfer.v1: {bugdet: 1 wei}}}}": "did you mean chain.fees.types.transfer.v1.budget?",
		"chain: {fees: {types: fast}}":                           "line 1: chain.fees.types takes names with their fields",
	} {
		if _, err := config.Parse(config.Default(), "aval.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestOneEndpointOrAList(t *testing.T) {
	for text, want := range map[string]config.Endpoints{
		`chain: {url: "http://one"}`:                             {"http://one"},
		"chain:\n  url:\n    - http://one\n    - ws://two/key\n": {"http://one", "ws://two/key"},
		`chain: {url: ""}`:                                       nil,
		`chain: {url: []}`:                                       {},
	} {
		c, err := config.Parse(config.Default(), "aval.yaml", []byte(text))
		if err != nil || !slices.Equal(c.Chain.URL, want) {
			t.Errorf("%s gives %v, %v", text, c.Chain.URL, err)
		}
	}
	if _, err := config.Parse(config.Default(), "aval.yaml", []byte("chain: {url: {one: two}}")); problem.From(err).Code != "config-malformed" {
		t.Errorf("a mapping gives %v", err)
	}
	c := config.Default()
	if err := c.Set("chain.url", "http://one/key"); err != nil || len(c.Chain.URL) != 1 || c.Chain.URL.String() != "http://one" {
		t.Errorf("set by hand it is %v, %v", c.Chain.URL, err)
	}
}
