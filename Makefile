# Everything this repository does goes through here, on a developer's machine and in CI alike.
# Parts with recipes of their own bring a fragment, included below.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Installed by `make deny` when it is not there: two and a half minutes, once.
CARGO_DENY_VERSION := 0.20.2
TOOLS := target/tools

.PHONY: help command demo test lint deny clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# With the whole workspace, as the tests are: alone it would get other features of shared dependencies, all built once more.
command: ## target/debug/kubetether
	@cargo build --workspace --locked --bin kubetether

demo: ## the answer of the cluster, then of this machine, then of the cluster again
	@tests/demo/demo

test: ## every rung of the test ladder that this machine allows (RUNGS="lint unit" for some)
	@tests/run $(RUNGS)

lint: ## formatting, clippy, shell syntax, dependencies
	@tests/run lint

deny: $(TOOLS)/bin/cargo-deny ## licences, banned crates and sources of all dependencies
	@PATH="$(CURDIR)/$(TOOLS)/bin:$$PATH"; \
	for manifest in Cargo.toml core/agent/loader/Cargo.toml; do \
	  cargo deny --locked --manifest-path $$manifest check bans licenses sources; \
	done

# Without its default features it needs no TLS library; only `advisories`, which we do not use, would.
$(TOOLS)/bin/cargo-deny:
	cargo install cargo-deny --locked --version $(CARGO_DENY_VERSION) --no-default-features --root $(TOOLS)

# Not `cargo clean`: a running cluster has its state in target/cluster.
clean: ## remove what was built here (a cluster stays: make cluster-down)
	@[ ! -d target ] || find target -mindepth 1 -maxdepth 1 ! -name cluster -exec rm -rf {} +
	@rm -rf core/agent/loader/target

-include core/agent/agent.mk
-include core/wire/wire.mk
-include tests/cluster/cluster.mk
-include tests/tests.mk
-include tests/sim/sim.mk
-include ffi/c.mk
-include bindings-python/python.mk
-include bindings-node/node.mk
-include vscode-extension/code.mk
