// Compiles src/*.sol with the pinned compiler and writes one artifact (ABI and bytecode) a contract to the folder given.
"use strict";
const fs = require("fs");
const path = require("path");
const solc = require("solc");

const out = process.argv[2];
const names = fs.readdirSync(path.join(__dirname, "src")).filter((f) => f.endsWith(".sol")).sort();
const read = (file) => fs.readFileSync(path.join(__dirname, file), "utf8");

const input = {
  language: "Solidity",
  sources: Object.fromEntries(names.map((name) => [name, { content: read(path.join("src", name)) }])),
  settings: {
    evmVersion: "cancun",
    optimizer: { enabled: true, runs: 200 },
    metadata: { bytecodeHash: "none" }, // the same bytes wherever it is compiled
    outputSelection: { "*": { "*": ["abi", "evm.bytecode.object"] } },
  },
};
const find = (name) => ({ contents: read(path.join("node_modules", name)) });
const result = JSON.parse(solc.compile(JSON.stringify(input), { import: find }));
for (const problem of result.errors ?? []) {
  console.error(problem.formattedMessage);
}
if ((result.errors ?? []).length > 0) { // warnings too
  process.exit(1);
}
for (const source of names) {
  for (const [name, contract] of Object.entries(result.contracts[source])) {
    const artifact = { contractName: name, compiler: solc.version(), abi: contract.abi, bytecode: "0x" + contract.evm.bytecode.object };
    fs.writeFileSync(path.join(out, name + ".json"), JSON.stringify(artifact, null, 2) + "\n");
  }
}
