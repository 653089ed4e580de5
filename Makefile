# SPDX-License-Identifier: Apache-2.0
# `make help` lists the targets. On a fresh Debian machine with Go and make, `make demo` and
# `make test` set up what they need.

GO ?= $(shell command -v go 2>/dev/null || echo /usr/local/go/bin/go)
export GO
# One set of flags for everything, so that nothing is compiled twice.
export GOFLAGS = -trimpath -buildvcs=false -tags=nethttpomithttp2
export GOTOOLCHAIN ?= local

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS = -s -w -X main.version=$(VERSION)

# The plugin as the local engine knows it.
PLUGIN_NAME ?= docker-remote-write
# Where what outlives an upgrade lies in the plugin; /run/docker is what the protocol's document has.
PROPAGATED_MOUNT ?= /data
# Where `make push` sends the plugin: REGISTRY=host:port or REGISTRY=host/organisation.
REGISTRY ?=
# What `make release` and `make push` build: one word for each GOARCH.
ARCHES ?= amd64 arm64
DEMO_SECONDS ?= 30
export DEMO_SECONDS
# How long the random loops of the tests run: small in CI, large in `make soak`.
TEST_LOOPS ?= 1
export TEST_LOOPS

SOAK ?= 30m
SOAK_LOOPS ?= 20

# The Debian suite of `make vm` and `make engines`: trixie, or sid, which moves.
SUITE ?= trixie
# How many times `make vm` takes the power away from a machine, which of its scenarios it runs, and the seed of its
# random moments.
STOPS ?= 3
ONLY ?=
SEED ?=

# What `make bench` runs, and how often, for benchstat to compare.
BENCH ?= .
BENCH_COUNT ?= 6

# How long `make fuzz` spends on each target.
FUZZ_TIME ?= 1m
# The release of golang.org/x/vuln that `make vuln` runs; it is no dependency of the module.
GOVULNCHECK ?= v1.9.0

STAGES = $(CURDIR)/build/stages
export E2E_SAYS = $(CURDIR)/build/e2e-says
stage = STAGES=$(STAGES) scripts/stage
gotestsum = $(GO) tool gotestsum --format pkgname-and-test-fails --format-hide-empty-pkg --

.DEFAULT_GOAL := help
.PHONY: help deps demo build plugin push release test lint unit e2e engines vm soak bench bench-peers fleet fuzz vuln clean

help: ## list the targets
	@sed -n 's/^\([a-z][a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F'\t' '{printf "  make %-13s %s\n", $$1, $$2}'

deps: ## set up what is missing on this machine, saying so first
	scripts/deps base servers chromium qemu-user trixie

demo: ## see the plugin at work in the local engine, or in a private one; removes all it made [DEMO_SECONDS=30]
	scripts/demo '$(LDFLAGS)'

build: ## build/docker-remote-write, one static binary
	CGO_ENABLED=0 $(GO) build -ldflags '$(LDFLAGS)' -o build/docker-remote-write ./cmd/docker-remote-write

plugin: build ## create the plugin in the local engine [PLUGIN_NAME=, PROPAGATED_MOUNT=]
	plugin/assemble build/docker-remote-write build/plugin $(PROPAGATED_MOUNT)
	docker plugin create $(PLUGIN_NAME) build/plugin

push: ## create the plugin for each of ARCHES and push it: make push REGISTRY=host:port
	scripts/push '$(REGISTRY)' '$(VERSION)' $(ARCHES)

release: ## dist/: binary and plugin for each of ARCHES, checksums, bill of materials
	scripts/release '$(VERSION)' $(ARCHES)

test: deps ## everything that CI runs before `make vm`
	@mkdir -p build && rm -f $(STAGES)
	@$(stage) format scripts/lint format
	@$(stage) build $(MAKE) --no-print-directory build
	@$(stage) 'unit tests' $(MAKE) --no-print-directory unit
	@$(stage) 'compile the demo' $(MAKE) --no-print-directory build/demo
	@$(stage) 'engine and receivers' $(MAKE) --no-print-directory e2e
	@$(stage) vet scripts/lint vet
	@$(stage) staticcheck scripts/lint staticcheck
	@echo; cat $(STAGES)

lint: ## format, vet, staticcheck
	scripts/lint format
	scripts/lint vet
	scripts/lint staticcheck

unit: ## the tests that need no engine, with the race detector
	$(gotestsum) -race -timeout 10m $$($(GO) list ./... | grep -v /proof/e2e)

# What `make demo` compiles, once, before several tests run it side by side.
build/demo: FORCE
	CGO_ENABLED=0 $(GO) build -o build/demo ./cmd/demo
FORCE:

e2e: ## the tests on a real engine and real receivers, as root, those of an engine's life on Debian 13's too; then what they measured
	@mkdir -p build && rm -f $(E2E_SAYS)
	$(gotestsum) -race -timeout 15m -count=1 -parallel 4 ./proof/e2e/...
	E2E_ENGINE=trixie $(gotestsum) -race -timeout 15m -count=1 -parallel 4 ./proof/e2e -run '^TestLife'
	@echo; sort -u $(E2E_SAYS)

engines: deps ## all tests on a real engine once more, on the engine of another Debian [SUITE=trixie]
	scripts/deps $(SUITE)
	@mkdir -p build && rm -f $(E2E_SAYS)
	E2E_ENGINE=$(SUITE) $(gotestsum) -race -timeout 20m -count=1 -parallel 4 ./proof/e2e
	@echo; sort -u $(E2E_SAYS)

vm: ## Debian 13 under an emulator: systemd, cgroup v2, AppArmor, rootless, machines that stop dead [SUITE=trixie, STOPS=3, ONLY=regexp, SEED=]
	scripts/deps base machine $(SUITE)
	$(GO) run ./proof/cmd/vm -suite '$(SUITE)' -stops '$(STOPS)' -only '$(ONLY)' -seed '$(or $(SEED),0)'

soak: deps build ## 30 minutes of outages and restarts at two hundred times the normal rate, then the random tests at length [SOAK=, SOAK_LOOPS=]
	$(GO) run ./proof/cmd/soak -length $(SOAK)
	TEST_LOOPS=$(SOAK_LOOPS) $(gotestsum) -race -timeout 1h -count=1 $$(grep -rl TEST_LOOPS --include=*_test.go internal proof | xargs dirname | sort -u | sed 's,^,./,')

bench: ## Go benchmarks of each step, for benchstat [BENCH=regexp, BENCH_COUNT=]
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -benchtime 100ms -count $(BENCH_COUNT) -timeout 10m $$(grep -rl '^func Benchmark' --include=*_test.go internal proof | xargs dirname | sort -u | sed 's,^,./,')

bench-peers: deps build ## this program beside Prometheus and vmagent, 40 minutes [PROMETHEUS=, VMAGENT=, DOC=docs/performance.md]
	$(GO) run ./proof/cmd/bench-peers -doc '$(DOC)'

fleet: ## plot a simulated fleet of 10,000 hosts into docs/
	$(GO) run ./proof/cmd/fleet -o docs

fuzz: ## every fuzz target in turn, a minute each; what they find lands in testdata/fuzz [FUZZ_TIME=1m]
	scripts/fuzz '$(FUZZ_TIME)'

vuln: ## known vulnerabilities in what the program calls; asks the database on the internet
	@echo 'govulncheck reads https://vuln.go.dev: without the internet it fails, and says nothing of the code'
	$(GO) run golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK) ./...

clean: ## remove what was built; what deps downloaded stays in .cache
	rm -rf build dist
