// Package chainfaults sets the transaction manager against real nodes, which are killed, reorganised, emptied and made to lie,
// and asks the nodes what came of it. Its tests have the build tag nodes, because they need geth and anvil (make nodes).
//
// Two things are tried. The whole program, aval serve (site_test.go), is killed while messages are submitted (kills_test.go), and goes
// through all that a chain and its nodes do to it (program_test.go, program_sick_test.go), on SQLite or, by a flag, on PostgreSQL. A
// keeper inside the test, with real keys and a real database under it, has its lanes struck by the same, more often and looked
// at more closely (room_test.go, and the files named by what they do).
//
// The oracle is the node (ledger_test.go): its blocks, read one by one. Each nonce of a key from 0 on is there once; each
// intent is there once, under the hash that Aval tells, with the block and the outcome that Aval tells; nothing else is there.
// What went to the node is held against that: bytes that no block holds have the to, value and data of those that one does (I6).
//
// The short run is part of make test-nodes. The flags of chainfaults_test.go, or make chainfaults, make it longer;
// docs/reliability.md has the results.
package chainfaults
