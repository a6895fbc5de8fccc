package evm

// answer is one way in which nodes refuse. Nodes agree neither on codes nor on words, so this table is where both are read, and
// the only place: the first row that fits decides. A row fits when the error has its code (0 fits all) and its words contain
// the phrase, which is in lower case ("" fits all). Rows with words stand before rows with a code alone, because the same code
// means different things: -32005 is a limit on requests by EIP-1474, and a transaction above the block's gas limit at Besu.
type answer struct {
	class  class
	code   int
	phrase string
	said   string // an example, word for word: a test tries it
	source string // where it is written: a public repository and a path in it, or a standard
}

// Where the words below are written.
const (
	gethPool       = "ethereum/go-ethereum core/txpool/errors.go"
	gethLegacyPool = "ethereum/go-ethereum core/txpool/legacypool/legacypool.go"
	gethValidation = "ethereum/go-ethereum core/txpool/validation.go"
	gethCore       = "ethereum/go-ethereum core/error.go"
	gethVM         = "ethereum/go-ethereum core/vm/errors.go"
	gethAPI        = "ethereum/go-ethereum internal/ethapi/errors.go"
	gethRPC        = "ethereum/go-ethereum rpc/errors.go"
	nethermindPool = "NethermindEth/nethermind src/Nethermind/Nethermind.TxPool/TxPoolErrorMessages.cs"
	nethermindGas  = "NethermindEth/nethermind src/Nethermind/Nethermind.Core/Messages/TxErrorMessages.cs"
	nethermindOnce = "NethermindEth/nethermind src/Nethermind/Nethermind.TxPool/AcceptTxResult.cs, before it took geth's words"
	nethermindCode = "NethermindEth/nethermind src/Nethermind/Nethermind.JsonRpc/ErrorCodes.cs"
	besu           = "hyperledger/besu ethereum/api/src/main/java/org/hyperledger/besu/ethereum/api/jsonrpc/internal/response/RpcErrorType.java"
	erigon         = "erigontech/erigon txnprovider/txpool/txpoolcfg/txpoolcfg.go"
	reth           = "paradigmxyz/reth crates/transaction-pool/src/error.rs"
	anvil          = "foundry-rs/foundry crates/anvil/src/eth/error.rs"
	infura         = "MetaMask/metamask-docs services/how-to/avoid-rate-limiting.md"
	erpc           = "erpc/erpc architecture/evm/error_normalizer.go"
	quickNode      = "erpc/erpc thirdparty/quicknode.go"
	chainlink      = "smartcontractkit/chainlink core/chains/evm/client/errors.go"
	eip1474        = "ethereum/EIPs EIPS/eip-1474.md"
	jsonRPC        = "JSON-RPC 2.0, section 5.1"
)

// answers is the table.
var answers = []answer{
	// Kinds of transactions. Before "known transaction", which "unknown transaction" contains.
	{typeUnsupported, 0, "unknown transaction type", "Unknown transaction type not supported", anvil},
	{typeUnsupported, 0, "transaction type not supported", "transaction type not supported: type 3 rejected, pool not yet in Cancun", gethValidation},
	{typeUnsupported, 0, "unsupported transaction type", "unsupported transaction type", nethermindPool},
	{typeUnsupported, 0, "invalid transaction type", "Invalid transaction type", besu},
	{typeUnsupported, 0, "invalidtxtype", "InvalidTxType: Transaction type in London is not supported.", nethermindGas},
	{typeUnsupported, 0, "is not activated yet", "fork supporting this transaction type is not activated yet", erigon},
	{typeUnsupported, 0, "not supported before the", "EIP-7702 authorization lists are not supported before the Prague hardfork", anvil},
	{typeUnsupported, 0, "not supported by the current hardfork", "EIP-4844 fields received but is not supported by the current hardfork.", anvil},

	// The very bytes are there.
	{alreadyKnown, 0, "already known", "already known", gethPool},
	{alreadyKnown, 0, "alreadyknown", "AlreadyKnown", nethermindOnce},
	{alreadyKnown, 0, "known transaction", "Known transaction", besu},
	{alreadyKnown, 0, "already imported", "[0x12]: already imported", reth},
	{alreadyKnown, 0, "existing txn with same hash", "existing txn with same hash", erigon},

	// Another transaction waits with the nonce, and this one does not pay enough to take its place.
	{nonceTaken, 0, "replacement transaction underpriced", "replacement transaction underpriced", gethPool},
	{nonceTaken, 0, "insufficient gas price to replace", "Tx: [0x12] insufficient gas price to replace existing transaction", anvil},
	{nonceTaken, 0, "could not replace existing tx", "INTERNAL_ERROR: could not replace existing tx", erigon},
	{nonceTaken, 0, "tries to replace pending", "future transaction tries to replace pending", gethLegacyPool},
	{nonceTaken, 0, "replaced by transaction with higher tip", "replaced by transaction with higher tip", erigon},
	{nonceTaken, 0, "replacementnotallowed", "ReplacementNotAllowed", nethermindOnce},

	{nonceTooLow, 0, "nonce too low", "nonce too low: next nonce 5, tx nonce 4", gethValidation},
	{nonceTooLow, 0, "oldnonce", "OldNonce, Current nonce: 5, nonce of rejected tx: 4", chainlink},

	{nonceTooHigh, 0, "nonce too high", "nonce too high: tx nonce 9, gapped nonce 5", gethValidation},
	{nonceTooHigh, 0, "noncegap", "NonceGap, Future nonce. Expected nonce: 5", chainlink},
	{nonceTooHigh, 0, "nonce too far in future", "nonce too far in future", nethermindPool},
	{nonceTooHigh, 0, "too distant from current sender nonce", "Transaction nonce is too distant from current sender nonce", besu},
	{nonceTooHigh, 0, "with a lower nonce exists", "An invalid transaction with a lower nonce exists", besu},
	{nonceTooHigh, 0, "gapped-nonce", "gapped-nonce tx from delegated accounts", gethLegacyPool},
	{nonceTooHigh, 0, "delegation nonce gap", "delegation nonce gap", nethermindPool},

	// The fee, at present.
	{underpriced, 0, "less than block base fee", "max fee per gas less than block base fee: address 0x00, maxFeePerGas: 1, baseFee: 7", gethCore},
	{underpriced, 0, "below current base fee", "Gas price below current base fee", besu},
	{underpriced, 0, "underpriced", "transaction underpriced", gethPool},
	{underpriced, 0, "gas price below", "transaction gas price below minimum: gas tip cap 0, minimum needed 1", gethValidation},
	{underpriced, 0, "below chain minimum", "transaction feeCap 6 below chain minimum", reth},
	{underpriced, 0, "fee too low", "fee too low", erigon},
	{underpriced, 0, "feetoolow", "FeeTooLow, EffectivePriorityFeePerGas too low 0 < 1, BaseFee: 7", chainlink},

	{insufficientFunds, 0, "insufficient funds", "insufficient funds for gas * price + value: balance 0, tx cost 1, overshot 1", gethValidation},
	{insufficientFunds, 0, "insufficientfunds", "InsufficientFunds, Account balance: 0, cumulative cost: 1", chainlink},
	{insufficientFunds, 0, "upfront cost exceeds", "Upfront cost exceeds account balance", besu},
	{insufficientFunds, 0, "overdraws from account", "transaction overdraws from account", reth},
	{insufficientFunds, 0, "insufficient balance for transfer", "insufficient balance for transfer", gethVM},
	{gasAllowance, 0, "gas required exceeds allowance", "gas required exceeds allowance (16777216)", "ethereum/go-ethereum eth/gasestimator/gasestimator.go"},

	// Gas: what the transaction may use.
	{gasTooLow, 0, "intrinsic gas too low", "intrinsic gas too low: gas 20999, minimum needed 21000", gethValidation},
	{gasTooLow, 0, "insufficient gas for floor data gas cost", "insufficient gas for floor data gas cost: gas 21000, minimum needed 21400", gethValidation},
	{gasTooLow, 0, "intrinsic gas exceeds gas limit", "Intrinsic gas exceeds gas limit", besu},
	{gasTooLow, 0, "intrinsicgas", "IntrinsicGas", erigon},
	{gasTooHigh, 0, "exceeds block gas limit", "Transaction gas limit exceeds block gas limit", besu},
	{gasTooHigh, 0, "exceeds block's gas limit", "transaction's gas limit 9 exceeds block's gas limit 8", reth},
	{gasTooHigh, 0, "greater than the block gas limit", "Transaction gas limit is greater than the block gas limit, gas_limit: 9, cap: 8", anvil},
	{gasTooHigh, 0, "intrinsic gas too high", "intrinsic gas too high -- tx.gas_limit > env.block.gas_limit", anvil},
	{gasTooHigh, 0, "gas limit reached", "gas limit reached", nethermindPool},
	{gasTooHigh, 0, "gaslimitexceeded", "GasLimitExceeded, Gas limit: 8, gas limit of rejected tx: 9", chainlink},
	{gasTooHigh, 0, "gaslimitcapexceeded", "TxGasLimitCapExceeded: Gas limit 9 exceeded cap of 8.", nethermindGas},
	{gasTooHigh, 0, "gas limit is too high", "gas limit is too high", erigon},
	{gasTooHigh, 0, "gas limit too high", "transaction gas limit too high (cap: 16777216, tx: 16777217)", gethValidation},

	// The pool has no room: for anybody, or for this sender.
	{poolFull, 0, "txpool is full", "txpool is full", gethLegacyPool},
	{poolFull, 0, "out of capacity", "out of capacity", gethPool},
	{poolFull, 0, "sub-pool is full", "pending sub-pool is full", erigon},
	{poolFull, 0, "pool size constraints", "transaction discarded outright due to pool size constraints", reth},
	{poolFull, 0, "pool full, please try again", "sequencer pending tx pool full, please try again", chainlink},
	{accountFull, 0, "account limit exceeded", "account limit exceeded: pooled 64 txs", gethValidation},
	{accountFull, 0, "in-flight transaction limit", "in-flight transaction limit reached for delegated accounts", gethPool},
	{accountFull, 0, "address already reserved", "address already reserved", gethPool},
	{accountFull, 0, "spammer", "rejected due to 0x12 being identified as a spammer", reth},
	{accountFull, 0, "pending transaction type conflict", "pending transaction type conflict", nethermindPool},

	// What no node takes, or this one never.
	{refused, 0, "invalid sender", "invalid sender", gethPool},
	{refused, 0, "invalid signature", "Invalid signature", besu},
	{refused, 0, "failed to recover sender", "failed to recover sender", nethermindPool},
	{refused, 0, "invalidtxsignature", "InvalidTxSignature: Signature is invalid.", nethermindGas},
	{refused, 0, "invalidtxchainid", "InvalidTxChainId: Expected 1, got 5.", nethermindGas},
	{refused, 0, "invalidmaxpriorityfeepergas", "InvalidMaxPriorityFeePerGas: Cannot be higher than maxFeePerGas.", nethermindGas},
	{refused, 0, "exceeds max nonce", "NonceTooHigh: Nonce exceeds max nonce", nethermindGas},
	{refused, 0, "nonce has max value", "nonce has max value: address 0x00, nonce: 18446744073709551615", gethCore},
	{refused, 0, "higher than 2^256-1", "max fee per gas higher than 2^256-1: address 0x00, maxFeePerGas bit length: 257", gethCore},
	{refused, 0, "gas uint64 overflow", "gas uint64 overflow", gethCore},
	{refused, 0, "gasuintoverflow", "GasUintOverflow", erigon},
	{refused, 0, "rlptoolong", "RLPTooLong", erigon},
	{refused, 0, "priority fee per gas exceeds max fee", "Max priority fee per gas exceeds max fee per gas", besu},
	{refused, 0, "chainid is required", "ChainId is required", besu},
	{refused, 0, "chainid not supported", "ChainId not supported", besu},
	{refused, 0, "plugin has marked the transaction", "Plugin has marked the transaction as invalid", besu},
	{refused, 0, "invalid transaction params", "Invalid transaction params (missing or incorrect)", besu},
	{refused, 0, "replay-protected", "only replay-protected (EIP-155) transactions allowed over RPC", "ethereum/go-ethereum internal/ethapi/api.go"},
	{refused, 0, "invalid chain id", "invalid chain id for signer", anvil},
	{refused, 0, "wrong chainid", "Wrong chainId", besu},
	{refused, 0, "higher than max fee per gas", "max priority fee per gas higher than max fee per gas", gethCore},
	{refused, 0, "sender not an eoa", "sender not an eoa", gethCore},
	{refused, 0, "not authorized to send", "Sender account not authorized to send transactions", besu},
	{refused, 0, "oversized data", "oversized data: transaction size 200000, limit 131072", gethValidation},
	{refused, 0, "transaction too large", "transaction too large", nethermindPool},
	{refused, 0, "negative value", "negative value", gethPool},
	{refused, 0, "exceeds the configured cap", "tx fee (1.20 ether) exceeds the configured cap (1.00 ether)", "ethereum/go-ethereum internal/ethapi/api.go"},
	{refused, 0, "fee cap exceeded", "Transaction fee cap exceeded", besu},
	{refused, 0, "failed to decode", "Failed to decode signed transaction", anvil},
	{refused, 0, "rlp: ", "rlp: expected input list for types.DynamicFeeTx", "ethereum/go-ethereum rlp/decode.go"},

	// The request was too big for the node: it is asked in parts.
	{tooLarge, 0, "batch too large", "batch too large", gethRPC},
	{tooLarge, 0, "response too large", "response too large", gethRPC},
	{tooLarge, 0, "exceeds max batch size", "Number of requests exceeds max batch size", besu},

	// Asked too often.
	{limited, 0, "rate limit", "daily request count exceeded, request rate limited", infura},
	{limited, 0, "request rate exceeded", "project ID request rate exceeded", infura},
	{limited, 0, "has exceeded its", "Your app has exceeded its compute units per second capacity. If you have retries enabled, you can safely ignore this message.", erpc},
	{limited, 0, "capacity limit", "Monthly capacity limit exceeded.", erpc},
	{limited, 0, "request limit reached", "50/second request limit reached - reduce calls per second or upgrade your account at quicknode.com", quickNode},
	{limited, 0, "too many requests", "Too Many Requests", erpc},
	{limited, 0, "requests limited to", "requests limited to 10/sec", erpc},
	{limited, 0, "the quota", "Exceeded the quota usage", erpc},
	{limited, 0, "too much load", "the node is under too much load", erpc},
	{limited, 0, "reached the free tier", "You've reached the free tier limit", erpc},

	// What this node does not have, and another may.
	{pruned, 0, "pruned history", "pruned history unavailable", "ethereum/go-ethereum core/history/historymode.go"},
	{pruned, 0, "missing trie node", "missing trie node 0b (path 0c) state 0x0d is not available", "ethereum/go-ethereum trie/errors.go"},
	{pruned, 0, "historical state", "historical state 0x0b is not available", "ethereum/go-ethereum core/state/database_history.go"},
	{pruned, 0, "world state unavailable", "World state unavailable", besu},
	{pruned, 0, "required data unavailable", "Required data unavailable", anvil},
	{behind, 0, "header not found", "header not found", "ethereum/go-ethereum eth/api_backend.go"},
	{behind, 0, "unknown block", "Unknown block", besu},
	{behind, 0, "block not found", "Block not found", besu},
	{behind, 0, "resource not found", "Resource not found", anvil},
	{behind, 0, "blockoutofrange", "BlockOutOfRangeError: block height is 5 but requested was 9", anvil},
	{behind, 0, "node is syncing", "node is syncing", nethermindPool},
	{behind, 0, "initial sync", "Initial sync is still in progress", besu},
	{behind, 0, "transaction pool not enabled", "Transaction pool not enabled. (Either txpool explicitly disabled, or node not yet in sync).", besu},
	{behind, 0, "indexing is in progress", "transaction indexing is in progress", gethAPI},
	{unsupported, 0, "does not exist/is not available", "the method eth_foo does not exist/is not available", gethRPC},
	{unsupported, 0, "unsupported method", "Unsupported method: eth_foo", erpc},
	{unsupported, 0, "method not enabled", "Method not enabled", besu},
	{unsupported, 0, "not whitelisted", "method is not whitelisted", erpc},
	{unsupported, 0, "not included in your current plan", "eth_foo is not included in your current plan", erpc},

	// It began, and what became of it is not known.
	{busy, 0, "timed out", "request timed out", gethRPC},
	{busy, 0, "timeout", "Timeout expired", besu},

	// Running it fails.
	{reverted, 0, "execution reverted", "execution reverted: no", gethVM},
	{reverted, 0, "revert", "VM Exception while processing transaction: revert no", erpc},
	{reverted, 0, "invalid opcode", "invalid opcode: INVALID", gethVM},
	{reverted, 0, "invalid jump destination", "invalid jump destination", gethVM},
	{reverted, 0, "stack underflow", "stack underflow (0 <=> 1)", gethVM},
	{reverted, 0, "stack limit reached", "stack limit reached 1024 (1023)", gethVM},
	{reverted, 0, "write protection", "write protection", gethVM},
	{reverted, 0, "out of gas", "out of gas", gethVM},
	{reverted, 0, "evm error", "EVM error StackUnderflow", anvil},
	{reverted, 0, "could not be completed due to an exception", "Transaction processing could not be completed due to an exception", besu},

	// Codes, where the words say nothing.
	{reverted, 3, "", "no", gethAPI},
	{reverted, -32015, "", "VM execution error.", gethAPI},
	{nonceTooLow, -38010, "", "whatever", gethAPI},
	{nonceTooHigh, -38011, "", "whatever", gethAPI},
	{underpriced, -38012, "", "whatever", gethAPI},
	{gasTooLow, -38013, "", "whatever", gethAPI},
	{insufficientFunds, -38014, "", "whatever", gethAPI},
	{gasTooHigh, -38015, "", "whatever", gethAPI},
	{refused, -38024, "", "whatever", gethAPI},
	{refused, -38025, "", "whatever", gethAPI},
	{limited, 429, "", "whatever", "the HTTP status, which Alchemy repeats in each answer of a batch; RFC 6585, section 4"},
	{limited, 402, "", "whatever", "the HTTP status, which Infura repeats when the day's credits are used up; docs.metamask.io"},
	{limited, -32005, "", "limit exceeded", eip1474},
	{limited, -32007, "", "whatever", quickNode},
	{limited, -38026, "", "whatever", gethAPI},
	{unsupported, -32601, "", "Method not found", jsonRPC},
	{unsupported, -32604, "", "whatever", besu},
	{pruned, 4444, "", "whatever", nethermindCode},
	{behind, -39001, "", "whatever", nethermindCode},
	{busy, -32002, "", "resource unavailable", eip1474},
	{busy, -32016, "", "whatever", nethermindCode},
	{busy, -32017, "", "whatever", nethermindCode},
	{busy, 4, "", "The transaction was added to the transaction pool but wasn't processed", gethAPI},
	{busy, -32603, "", "Internal error", jsonRPC}, // the node blames itself
}
