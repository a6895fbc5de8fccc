package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/avalhq/aval/internal/problem"
)

// Validate says what cannot work: one sentence each of field, what is wrong and what to do. It touches no file and no
// network, and never echoes a value that may be a secret (I25).
func (c Config) Validate() error {
	var v violations
	v.that(c.Data != "", "data is empty: name a folder for Aval's data, such as aval-data")
	v.database(c.Database)
	v.etcd(c.Etcd, c.Database)
	v.kafka(c.Kafka, c.Database.URL != "")
	v.keyManager(c.KeyManager, c.Database)
	v.api(c.API)
	v.auth(c.Auth, c.API.Listen)
	v.that(c.Messages.IDExpiry >= time.Second, "messages.id_expiry is %s: clients need time to sign; set 1s or more, such as 24h", c.Messages.IDExpiry)
	v.chain(c.Chain)
	v.custody(c.Custody, c.Data)
	v.signing(c.Signing, c.Database)
	v.that(c.Controller.Loops >= 1, "controller.loops is %d: nothing would be driven; set 1 or more", c.Controller.Loops)
	v.that(c.Controller.InFlight >= max(1, c.Controller.Loops), "controller.in_flight is %d: set at least 1 for each of the %d loops", c.Controller.InFlight, c.Controller.Loops)
	levels := []string{"debug", "info", "warn", "error"}
	v.that(slices.Contains(levels, c.Telemetry.LogLevel), "telemetry.log_level is %q: set one of %s", c.Telemetry.LogLevel, strings.Join(levels, ", "))
	if c.Telemetry.OTLPEndpoint != "" {
		v.link("telemetry.otlp_endpoint", string(c.Telemetry.OTLPEndpoint), "http", "https")
	}
	if len(v) == 0 {
		return nil
	}
	return problem.New(problem.Invalid, "config-invalid", "%w", errors.Join(v...))
}

// violations collects what is wrong.
type violations []error

func (v *violations) that(holds bool, format string, args ...any) {
	if !holds {
		v.add(format, args...)
	}
}

func (v *violations) add(format string, args ...any) {
	*v = append(*v, fmt.Errorf(format, args...))
}

func (v *violations) database(c Database) {
	kind, arg := source(c.Password)
	v.that(c.Password == "" || (kind == "file" || kind == "env") && arg != "", "database.password does not say where the password comes from: write file:PATH or env:NAME, never the password itself")
	v.that(c.Connections >= 2, "database.connections is %d: set 2 or more", c.Connections)
	if c.URL == "" {
		return
	}
	v.link("database.url", string(c.URL), "postgres", "postgresql")
	u, err := url.Parse(string(c.URL))
	if err != nil {
		return // said above
	}
	_, inside := u.User.Password()
	v.that(!inside && !u.Query().Has("password"), "database.url holds a password: take it out, and let database.password say where it comes from")
}

// Source splits Password into its kind (file, env) and the path or name after the colon.
func (c Database) Source() (kind, arg string) { return source(c.Password) }

func source(text string) (kind, arg string) {
	kind, arg, _ = strings.Cut(text, ":")
	return kind, arg
}

func (v *violations) api(c API) {
	_, port, err := net.SplitHostPort(c.Listen)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	v.that(err == nil, "api.listen is %q: set host:port, such as 127.0.0.1:8080", c.Listen)
	v.that(c.MaxBody >= 1<<10, "api.max_body is %d: no message would fit; set 1024 bytes or more", c.MaxBody)
	v.that(c.MaxIDs >= 1, "api.max_ids is %d: clients could not get an id; set 1 or more", c.MaxIDs)
	v.that(c.MaxStreams >= 1, "api.max_streams is %d: nobody could follow a message; set 1 or more", c.MaxStreams)
	v.that(c.MaxClientStreams >= 1, "api.max_client_streams is %d: nobody could follow a message; set 1 or more", c.MaxClientStreams)
	v.that(c.Timeout >= time.Second, "api.timeout is %s: set 1s or more", c.Timeout)
}

func (v *violations) auth(c Auth, listen string) {
	if c.Issuer != "" {
		v.link("auth.issuer", c.Issuer, "https", "http")
	}
	v.that(c.Subject != "", "auth.subject is empty: tokens would speak for nobody; set the claim that holds the client's id, such as sub")
	v.that(c.Audience != "", "auth.audience is empty: tokens meant for others would be accepted; set the audience of Aval's tokens, such as aval")
	v.that(!c.DevIssuer || !reachable(listen), "auth.dev_issuer is on while api.listen is %s: it is for development and not to be reached by others; turn it off, or listen on 127.0.0.1", listen)
}

func (v *violations) chain(c Chain) {
	v.that(c.ID >= 1, "chain.id is 0: a transaction signed for it could be replayed on any chain (A10); set the chain's EIP-155 id")
	v.that(c.Confirmations >= 1, "chain.confirmations is 0: a transaction would count as confirmed before it is in a block; set 1 or more")
	v.that(slices.Contains([]string{"depth", "safe", "finalized"}, c.Finality), "chain.finality is %q: set depth, or safe or finalized where the chain has such blocks", c.Finality)
	v.that(c.FinalDepth >= c.Confirmations, "chain.final_depth is %d and chain.confirmations is %d: nothing is final before it is confirmed; set %d or more, such as 64", c.FinalDepth, c.Confirmations, c.Confirmations)
	v.that(c.Lanes.Window >= 1, "chain.lanes.window is 0: nothing would be sent; set 1 or more, such as 128")
	v.that(c.Lanes.Widest >= c.Lanes.Window, "chain.lanes.widest is %d and chain.lanes.window is %d: a lane cannot begin with more than it may have; set %d or more", c.Lanes.Widest, c.Lanes.Window, c.Lanes.Window)
	v.that(c.Lanes.Grace >= 100*time.Millisecond, "chain.lanes.grace is %s: workflows need a moment to send what they have signed; set 100ms or more, such as 2s", c.Lanes.Grace)
	v.fees(c.Fees)
	v.that(c.Quorum >= 1 && c.Quorum <= max(1, len(c.URL)), "chain.quorum is %d and chain.url has %d nodes: set 1, or name as many nodes as have to agree", c.Quorum, len(c.URL))
	v.that(c.MaxLag >= 1, "chain.max_lag is 0: nodes are a block apart all the time; set 1 or more, such as 3")
	v.that(c.Poll >= 10*time.Millisecond, "chain.poll is %s: set 10ms or more, such as 1s", c.Poll)
	v.that(c.Timeout >= 100*time.Millisecond, "chain.timeout is %s: set 100ms or more, such as 10s", c.Timeout)
	for i, one := range c.URL {
		v.that(one != "", "chain.url[%d] is empty: write an endpoint or remove the line", i)
		v.that(slices.Index(c.URL, one) == i, "chain.url[%d] is there twice: a node cannot agree with itself; name each once", i)
		if strings.Contains(string(one), "://") {
			v.link("chain.url", string(one), "http", "https", "ws", "wss")
		}
	}
	if len(c.URL) > 0 {
		return
	}
	v.that(c.Dev.Port >= 0 && c.Dev.Port <= 65535, "chain.dev.port is %d: set a port, or 0 for a free one", c.Dev.Port)
	v.that(c.Dev.BlockTime > 0, "chain.dev.block_time is %s: set more than 0s, such as 100ms", c.Dev.BlockTime)
}

func (v *violations) fees(c Fees) {
	kinds := []string{"auto", "eip1559", "legacy"}
	v.that(slices.Contains(kinds, c.Kind), "chain.fees.kind is %q: set one of %s", c.Kind, strings.Join(kinds, ", "))
	v.that(c.Blocks >= 1 && c.Blocks <= 1024, "chain.fees.blocks is %d: set 1 to 1024, such as 20", c.Blocks)
	v.that(c.Headroom >= 1 && c.Headroom <= 8, "chain.fees.headroom is %d: set 1 to 8 doublings of the base fee", c.Headroom)
	v.that(c.GasMargin >= 1 && c.GasMargin <= 1000, "chain.fees.gas_margin is %d: set 1 to 1000 percent, such as 20", c.GasMargin)
	v.coin("chain.fees.min_tip", c.MinTip)
	v.that(c.Default.Percentile != 0, "chain.fees.default.percentile is 0: set 1 to 99, such as 50")
	v.feeType("chain.fees.default", c.Default)
	for _, name := range slices.Sorted(maps.Keys(c.Types)) {
		v.feeType("chain.fees.types."+name, c.Types[name])
	}
}

func (v *violations) feeType(field string, c FeeType) {
	v.that(c.Percentile >= 0 && c.Percentile <= 99, "%s.percentile is %d: set 1 to 99, such as 50", field, c.Percentile)
	v.coin(field+".budget", c.Budget)
	v.that(c.Deadline >= 0, "%s.deadline is %s: set 0s for none, or such as 1h", field, c.Deadline)
}

func (v *violations) coin(field string, c Coin) {
	if _, err := c.Wei(); err != nil {
		v.add("%s is %q: %w", field, string(c), err)
	}
}

func (v *violations) custody(c Custody, data string) {
	switch kind, arg := c.Source(); {
	case c.KeyFile == "" && c.Passphrase == "":
		v.add("custody.key_file and custody.passphrase are both empty: the signing keys could not be sealed; set one of them")
	case c.KeyFile != "" && c.Passphrase != "":
		v.add("custody.key_file and custody.passphrase are both set: keys are sealed by one of them; remove the other")
	case c.KeyFile != "":
		v.that(!within(data, c.KeyFile), "custody.key_file %s lies in the data folder: whoever copies the folder could open the keys; keep the file elsewhere", c.KeyFile)
	case kind == "prompt" && arg == "":
	case (kind == "file" || kind == "env") && arg != "":
		v.that(kind != "file" || !within(data, arg), "custody.passphrase names a file in the data folder: whoever copies the folder could open the keys; keep the file elsewhere")
	default:
		v.add(`custody.passphrase does not say where the passphrase comes from: write prompt, file:PATH or env:NAME, never the passphrase itself`)
	}
}

// Source splits Passphrase into its kind (prompt, file, env) and the path or name after the colon.
func (c Custody) Source() (kind, arg string) { return source(c.Passphrase) }

func (v *violations) link(field, s string, schemes ...string) {
	u, err := url.Parse(s)
	v.that(err == nil && u.Host != "" && slices.Contains(schemes, u.Scheme), "%s is not a URL that can be used: set one that begins with %s://", field, strings.Join(schemes, ":// or "))
}

// reachable says whether other machines can reach an address; a malformed one nobody can.
func reachable(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	return err == nil && host != "localhost" && !net.ParseIP(host).IsLoopback()
}

// within says whether the path lies in the folder, as far as names tell.
func within(folder, path string) bool {
	if folder == "" {
		return false
	}
	folder, errFolder := filepath.Abs(folder)
	path, errPath := filepath.Abs(path)
	rel, err := filepath.Rel(folder, path)
	return errors.Join(errFolder, errPath, err) == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}
