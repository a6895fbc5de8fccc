// Package config is the configuration of an Aval process: one struct, and its comments are the manual.
//
// A file is decoded strictly over Default: an unknown field is refused with its line and the name that was probably meant.
// Validate says what cannot work, all of it at once, field by field. The package reads no environment and no flags: cmd
// does, and hands overrides to Set. Example is the whole struct as commented YAML; a test keeps it equal to this file.
package config

import (
	_ "embed"
	"time"
)

// Config is everything that can be configured. The comments of its fields are written for whoever edits the file.
type Config struct {
	// The folder for everything that Aval stores: messages, sealed keys, the development chain. One process uses it at a
	// time. Relative paths, here and below, start at the folder in which Aval is started.
	Data string `yaml:"data"`

	// The PostgreSQL database to run on. Without one, everything is in SQLite files in the data folder.
	Database Database `yaml:"database"`

	// The etcd cluster that leases the signing keys, for several processes on one database. Without one the database does.
	Etcd Etcd `yaml:"etcd"`

	// Apache Kafka between the processes of a cluster. Without one, PostgreSQL carries what they tell each other.
	Kafka Kafka `yaml:"kafka"`

	// The key-manager: a process of its own that leases the signing keys to the others, over gRPC.
	KeyManager KeyManager `yaml:"key_manager"`

	// The HTTP API.
	API API `yaml:"api"`

	// Who may call the API: bearer tokens from an OIDC issuer, from the built-in one, or both.
	Auth Auth `yaml:"auth"`

	// The ids that clients ask for before they sign.
	Messages Messages `yaml:"messages"`

	// The chain that transactions go to.
	Chain Chain `yaml:"chain"`

	// The signing keys, sealed in the data folder, or in the database when there is one.
	Custody Custody `yaml:"custody"`

	// Who signs transactions, and what is published on the bus.
	Signing Signing `yaml:"signing"`

	// The file with the rules of who may do what, with how much (CEL; what no rule allows is denied). Empty: the rules
	// that ship with Aval.
	Policy string `yaml:"policy"`

	// A folder with workflow definitions (*.yaml, *.json) to use instead of those that ship with Aval. Empty: the shipped ones.
	Workflows string `yaml:"workflows"`

	// Where Aval meets other systems: actions that call them over HTTP, each declared in a file.
	ControlPoints ControlPoints `yaml:"control_points"`

	// The loops that drive messages through their workflows.
	Controller Controller `yaml:"controller"`

	// Logs and traces. Metrics are always on, at /metrics of the API.
	Telemetry Telemetry `yaml:"telemetry"`
}

// Database configures the PostgreSQL server. Any number of processes run on one database, where their signing keys are
// sealed, too; they are given the same key-encryption key and share no folder.
type Database struct {
	// Where it is and as whom to connect: postgres://user@host:port/name, without the password. aval database init prepares it.
	// Empty: SQLite files in the data folder.
	URL Endpoint `yaml:"url"`

	// Where the password comes from: "file:PATH" reads a file's first line, "env:NAME" an environment variable. Never the
	// password itself. Empty: none is needed, or it is in the file that PGPASSFILE names.
	Password string `yaml:"password"`

	// The most connections of this process, for each of two pools.
	Connections int `yaml:"connections"`
}

// API configures the HTTP server.
type API struct {
	// Where the API listens: host:port. Port 0 takes a free one.
	Listen string `yaml:"listen"`

	// The largest request body, in bytes.
	MaxBody int64 `yaml:"max_body"`

	// The most message ids that one request may ask for.
	MaxIDs int `yaml:"max_ids"`

	// The most live streams (server-sent events) open at once, over all clients.
	MaxStreams int `yaml:"max_streams"`

	// Of these, the most that one client may have open.
	MaxClientStreams int `yaml:"max_client_streams"`

	// How long a request may take, streams excepted; also how long a stop waits for the requests under way.
	Timeout time.Duration `yaml:"timeout"`
}

// Auth configures the verification of bearer tokens.
type Auth struct {
	// The URL of the OIDC issuer whose tokens are accepted, exactly as in their "iss". Empty: none but the development issuer.
	Issuer string `yaml:"issuer"`

	// The claim that holds the client's id, or the operator's name.
	Subject string `yaml:"subject"`

	// The audience that a token has to name in its "aud".
	Audience string `yaml:"audience"`

	// The built-in issuer, for development: it gives tokens to clients registered here for the secret that they were told.
	// Secrets and tokens go over plain HTTP, so it is only allowed while the API listens on a loopback address.
	DevIssuer bool `yaml:"dev_issuer"`
}

// Messages configures what is issued to clients.
type Messages struct {
	// How long a message id can be used after it was issued.
	IDExpiry time.Duration `yaml:"id_expiry"`
}

// Chain configures the connection to the chain, or the development chain.
type Chain struct {
	// The JSON-RPC endpoint of a node, or a list of several nodes of the same chain, the preferred first: http, https, ws or
	// wss, or the path of an IPC socket. Empty: a development chain inside this process. What follows the host is kept out
	// of logs, as it often holds an access key.
	URL Endpoints `yaml:"url"`

	// The chain's id as in EIP-155. The node has to report the same one. A data folder belongs to one chain for good.
	ID uint64 `yaml:"id"`

	// How many of the nodes have to agree on which transactions are mined and how many an address has sent. With 1, one
	// node that errs or lies is believed.
	Quorum int `yaml:"quorum"`

	// How many blocks a node may be away from the others and still be asked.
	MaxLag uint64 `yaml:"max_lag"`

	// How often each node is asked for its newest block. Over ws, wss and IPC it tells by itself, and this is the net under it.
	Poll time.Duration `yaml:"poll"`

	// How long a node may take to answer.
	Timeout time.Duration `yaml:"timeout"`

	// When a transaction counts as confirmed: the number of blocks from its own to the head, both included.
	Confirmations uint64 `yaml:"confirmations"`

	// By what a transaction counts as confirmed and as final: depth, by the two numbers of blocks; safe, when the chain calls its
	// block safe, and final when finalized; finalized, both when the chain calls it finalized. Not every chain has the last two.
	Finality string `yaml:"finality"`

	// With finality: depth, how many blocks deep a transaction is final. Until then a reorganisation takes its confirmation back.
	FinalDepth uint64 `yaml:"final_depth"`

	// How the transactions of each key are seen to until they are mined.
	Lanes Lanes `yaml:"lanes"`

	// The most that a transaction may offer for a unit of gas, in gwei. While the chain asks for more nothing is signed, and
	// the messages concerned wait until it is cheaper or they expire. 0: no limit.
	MaxFee uint64 `yaml:"max_fee"`

	// How transactions are priced, and what they may cost.
	Fees Fees `yaml:"fees"`

	// A folder with ABIs of contracts (*.json: an ABI, or a compiler's artifact), by whose custom errors reverted calls are
	// explained. Empty: those that many contracts share. A file that is named by a contract's address (0x….json) says all that may
	// be called there: other calls of that contract are refused before anything is signed.
	ABIs string `yaml:"abis"`

	// The development chain; without effect when url is set.
	Dev DevChain `yaml:"dev"`
}

// Fees configures the price of transactions. Amounts of coin are written with their unit: 30 gwei, 0.002 ether, 1000 wei.
type Fees struct {
	// The kind of transactions: eip1559 (a most for a unit of gas and a tip), legacy (one gas price, for chains without a base
	// fee), or auto, which asks the chain.
	Kind string `yaml:"kind"`

	// From how many of the newest blocks the tips are taken.
	Blocks uint64 `yaml:"blocks"`

	// How often the base fee may double before a transaction is too cheap to be mined. One outlasts five full blocks, each more six.
	// The room that is not needed is not paid, but the wallet must have it. Without effect on a legacy gas price.
	Headroom uint `yaml:"headroom"`

	// The least tip for a unit of gas, such as 1 gwei; on a chain without a base fee the least gas price. Empty: none.
	MinTip Coin `yaml:"min_tip"`

	// What is added to the estimate of a contract call's gas, in percent.
	GasMargin uint64 `yaml:"gas_margin"`

	// What holds for message types that are not in types.
	Default FeeType `yaml:"default"`

	// What holds for single message types, by name, as in types: {transfer.v1: {budget: 0.01 ether}}. What a type leaves
	// out is as in default.
	Types map[string]FeeType `yaml:"types"`
}

// FeeType configures what the transactions of a message type may cost, and how urgent they are.
type FeeType struct {
	// How urgent: the tip that this percentage of the newest blocks' transactions did not exceed, 1 to 99.
	Percentile int `yaml:"percentile"`

	// The most that a transaction may cost in gas, such as 0.01 ether. While it would cost more nothing is signed and the
	// message waits; a waiting transaction is not raised above it. Empty: no limit.
	Budget Coin `yaml:"budget"`

	// How many blocks a transaction waits in vain before it is replaced by one that offers more. One that offers less than the
	// next block asks waits for one block alone. 0: nothing is replaced.
	Patience uint64 `yaml:"patience"`

	// How long after its signature a transaction that is not mined is given up: it is cancelled by one that does nothing. 0s: never.
	Deadline time.Duration `yaml:"deadline"`
}

// Lanes configures how transactions are seen to. A lane is what one key sends: mined in the order of nonces.
type Lanes struct {
	// How many transactions of a lane are with the node at once, to begin with. The others wait for their turn. While that is what holds
	// the lane up it gets more; when the node refuses or drops some for want of room, half as many.
	Window uint64 `yaml:"window"`

	// The most that a lane's window grows to.
	Widest uint64 `yaml:"widest"`

	// How long a transaction may be decided and not signed, or signed and not sent, because its message is held up. Then it is
	// signed and sent all the same: those behind it wait for its nonce.
	Grace time.Duration `yaml:"grace"`
}

// DevChain configures the chain inside this process.
type DevChain struct {
	// The port of its JSON-RPC, HTTP and WebSocket, on 127.0.0.1. 0 takes a free one.
	Port int `yaml:"port"`

	// The least time from block to block. A block is made when transactions wait; after the last one as many empty blocks
	// follow as confirmations need.
	BlockTime time.Duration `yaml:"block_time"`
}

// Custody configures how the signing keys are sealed. Exactly one of key_file and passphrase is set.
type Custody struct {
	// The file with the key-encryption key, readable by its owner alone; made when there is none yet. Left at its default it
	// lies beside the data folder, never in it: whoever copies that folder must not have copied the keys. Back it up
	// elsewhere: without it the signing keys are lost.
	KeyFile string `yaml:"key_file"`

	// Where the passphrase comes from that seals the keys instead of a key file: "prompt" asks on the terminal, "file:PATH"
	// reads a file's first line, "env:NAME" an environment variable. Never the passphrase itself, which has 8 bytes or more.
	Passphrase string `yaml:"passphrase"`
}

// ControlPoints configures the calls to other systems.
type ControlPoints struct {
	// A folder with control points, one in each file (*.yaml), whose names workflows can use as actions. Empty: none.
	Folder string `yaml:"folder"`

	// What control points may reach beside public addresses, and may speak to without TLS: host names, addresses and
	// networks such as 10.0.0.0/8, separated by blanks. Where a name leads to is judged when connecting. Empty: nothing.
	Allow string `yaml:"allow"`
}

// Controller configures the loops that drive messages.
type Controller struct {
	// The most messages that are worked on at once, over all loops.
	InFlight int `yaml:"in_flight"`

	// The number of loops that claim messages and commit their transitions.
	Loops int `yaml:"loops"`
}

// Telemetry configures what Aval tells about itself.
type Telemetry struct {
	// The least severe lines that are logged: debug, info, warn or error.
	LogLevel string `yaml:"log_level"`

	// The URL of an OpenTelemetry collector (OTLP over HTTP), to which each message's trace is sent. Empty: no traces.
	OTLPEndpoint Endpoint `yaml:"otlp_endpoint"`
}

// Default is the configuration of a file that says nothing: a development set-up on loopback, with a chain of its own.
func Default() Config {
	return Config{
		Data:     "aval-data",
		Database: Database{Connections: 16},
		Kafka:    Kafka{Prefix: "aval.", Partitions: 16, Replication: 1},
		Etcd:     Etcd{Prefix: "/aval/"},
		API:      API{Listen: "127.0.0.1:8080", MaxBody: 64 << 10, MaxIDs: 1000, MaxStreams: 4096, MaxClientStreams: 32, Timeout: 30 * time.Second},
		Auth:     Auth{Subject: "sub", Audience: "aval", DevIssuer: true},
		Messages: Messages{IDExpiry: 24 * time.Hour},
		Chain: Chain{
			ID: 1337, Quorum: 1, MaxLag: 3, Poll: time.Second, Timeout: 10 * time.Second, Confirmations: 2, Finality: "depth", FinalDepth: 64,
			Lanes: Lanes{Window: 128, Widest: 1024, Grace: 2 * time.Second},
			Fees:  Fees{Kind: "auto", Blocks: 20, Headroom: 1, GasMargin: 20, Default: FeeType{Percentile: 50, Patience: 5}, Types: map[string]FeeType{}},
			Dev:   DevChain{Port: 8545, BlockTime: 100 * time.Millisecond},
		},
		Custody:    Custody{KeyFile: "aval.kek"},
		Signing:    Signing{By: SignedByController, Workers: 2, Batch: 1024},
		Controller: Controller{InFlight: 1024, Loops: 2},
		Telemetry:  Telemetry{LogLevel: "info"},
	}
}

//go:generate go test -run TestExampleIsTheStruct -update .

//go:embed example.yaml
var example string

// Example is the default configuration as YAML, each field under its comment.
func Example() string { return example }
