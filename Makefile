# Everything here needs Go and git; what needs more says so. Nothing is installed outside of ./bin and Go's own caches.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

GOLANGCI_VERSION := v2.15.0
GOLANGCI := bin/golangci-lint-$(GOLANGCI_VERSION)

# Real nodes for tests: internal/chain/evm/nodes names the same versions.
GETH_VERSION := 1.17.8
ANVIL_VERSION := 1.7.1
GETH := bin/geth-$(GETH_VERSION)
ANVIL := bin/anvil-$(ANVIL_VERSION)

# The packages whose code runs concurrently: what the race detector is for.
RACE := ./internal/lifecycle/... ./internal/telemetry/... ./internal/event/... ./internal/guarantee/... ./internal/reference/... \
	./internal/action/... ./internal/custody/... ./internal/backend/... ./internal/server/...

# The packages that have tests with the build tag cluster.
CLUSTER := ./internal/backend/postgres/... ./internal/backend/etcd/... ./internal/custody/key/... ./internal/backend/kafka/... ./cmd/aval ./internal/custody/signer

CLUSTERKILLS ?= 40

KILLS    ?= 2000
BENCH    ?= steps

# CI fuzzes by number: at the end of a time Go 1.26 can fail without having found anything (go.dev/issue/75804).
FUZZTIME ?= 20s
FUZZCI   ?= 20000x

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the program into ./bin/aval
	go build -trimpath -o bin/aval ./cmd/aval

.PHONY: demo
demo: ## Run one transfer from the signed message to the mined transaction, and show it
	go run ./cmd/aval demo

.PHONY: test
test: ## Run all tests, the short crash run included
	go test -timeout 15m ./...

.PHONY: nodes
nodes: $(GETH) $(ANVIL) ## Install the real nodes for test-nodes into ./bin: builds geth, takes anvil from npm (needs Node)

$(GETH):
	@mkdir -p bin/geth-install
	GOBIN="$(CURDIR)/bin/geth-install" go install github.com/ethereum/go-ethereum/cmd/geth@v$(GETH_VERSION)
	mv bin/geth-install/geth $@
	rmdir bin/geth-install

# Not npm ci: the lock file holds the platforms that could be pinned where it was made, and ci asks for all of them.
$(ANVIL): internal/chain/evm/nodes/package-lock.json
	@mkdir -p bin
	cd internal/chain/evm/nodes && npm install --no-save --ignore-scripts --silent
	cp internal/chain/evm/nodes/node_modules/@foundry-rs/anvil-*/bin/anvil $@

.PHONY: test-nodes
test-nodes: nodes ## Run the tests against real nodes, which are processes of their own
	go test -tags nodes -timeout 10m -parallel 4 ./internal/chain/evm/... ./test/chainfaults

.PHONY: chainfaults
chainfaults: nodes ## Kill, reorganise and empty real nodes under load, for some minutes: 500 kills, 200 reorganisations, 100 empty pools
	go test -count=1 -tags nodes -timeout 0 -parallel 4 -v ./test/chainfaults -args -kills=500 -transfers=20000 -reorgs=200 -drops=100 -sicknesses=6

.PHONY: chainfaults-postgres
chainfaults-postgres: nodes ## The same, with the program on PostgreSQL (make services-up)
	go test -count=1 -tags nodes,cluster -timeout 0 -parallel 4 -v ./test/chainfaults -args -postgres -kills=500 -transfers=20000 -reorgs=200 -drops=100 -sicknesses=6

.PHONY: services-up
services-up: ## Start PostgreSQL, etcd and Kafka on loopback for the cluster tests (installs, builds or fetches what is missing; data in .services)
	@deploy/services/services.sh up

.PHONY: services-down
services-down: ## Stop them; their data stays (deploy/services/services.sh wipe removes it)
	@deploy/services/services.sh down

.PHONY: test-cluster
test-cluster: ## Run the tests that need the real servers; one that is missing fails them
	go test -count=1 -timeout 25m -tags cluster $(CLUSTER)
	go test -count=1 -timeout 25m -tags cluster ./test/cluster
	go test -count=1 -timeout 25m -tags cluster ./test/crash -run OnPostgres -args -kills=$(CLUSTERKILLS)

.PHONY: clusterfaults
clusterfaults: ## Let each role and each server of a cluster be killed, stopped and cut off for up to a minute under load; about an hour
	go test -count=1 -tags cluster -timeout 0 -v ./test/cluster -args -every -longest=60s

.PHONY: test-race
test-race: ## Run the tests of what is concurrent under the race detector (needs a C compiler)
	CGO_ENABLED=1 go test -race -timeout 20m $(RACE)

.PHONY: cover
cover: ## Run all tests and show which code they reach
	@mkdir -p bin
	go test -timeout 20m -coverpkg=./... -coverprofile=bin/cover.out ./...
	go tool cover -func=bin/cover.out | tail -n 1
	go tool cover -html=bin/cover.out -o bin/cover.html

.PHONY: fuzz
fuzz: ## Fuzz each target for FUZZTIME (default 20s; FUZZTIME=1h for a long run)
	@git grep -lE '^func Fuzz' -- '*_test.go' | while read -r file; do \
		sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p' "$$file" | while read -r target; do \
			echo "== $$(dirname "$$file") $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime '$(FUZZTIME)' -fuzzminimizetime 1000x "./$$(dirname "$$file")"; \
		done; \
	done

.PHONY: fuzz-short
fuzz-short: ## Fuzz each target with FUZZCI inputs, some seconds each
	@$(MAKE) --no-print-directory fuzz FUZZTIME=$(FUZZCI)

.PHONY: crash
crash: ## Kill a process under load KILLS times (default 2000) and check that nothing is lost or doubled
	go test -count=1 -timeout 0 -v ./test/crash -args -kills=$(KILLS)

.PHONY: bench
bench: ## Measure: BENCH=steps (default), messages, transfers or "signing --config FILE"
	go run ./cmd/aval bench $(BENCH)

.PHONY: lint
lint: $(GOLANGCI) ## Check style and common mistakes; what each exception is for stands in .golangci.yaml
	$(GOLANGCI) run ./...

$(GOLANGCI):
	@mkdir -p bin/install
	GOBIN="$(CURDIR)/bin/install" go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv bin/install/golangci-lint $@
	rmdir bin/install

.PHONY: generate
generate: ## Write all generated files anew (needs Node for the contracts)
	contracts/generate.sh
	go generate ./...

.PHONY: verify-generated
verify-generated: ## Fail when a generated file is not what its source gives (needs Node for the contracts)
	contracts/generate.sh verify
	@before=$$(git status --porcelain; git diff | git hash-object --stdin); \
	go generate ./...; \
	after=$$(git status --porcelain; git diff | git hash-object --stdin); \
	if [ "$$before" != "$$after" ]; then \
		git status --short; \
		echo "generated files were not up to date; they are now: look at them and commit them" >&2; \
		exit 1; \
	fi

.PHONY: clean
clean: ## Remove ./bin
	rm -rf bin
