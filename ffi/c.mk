# kubetether for C as it is installed; included by the root Makefile. Built for use, unless KUBETETHER_PROFILE is dev.
C_BUILD = $(if $(filter dev,$(KUBETETHER_PROFILE)),debug,release)
C_FLAGS = $(if $(filter release,$(C_BUILD)),--release)
FFI_DIR := $(dir $(lastword $(MAKEFILE_LIST)))

.PHONY: c c-install c-bench

c: agent ## the library for C: target/c with header, libraries, pkg-config file and agent (KUBETETHER_PROFILE=dev: quick to build)
	@cargo build --workspace --locked --lib $(C_FLAGS)
	@$(FFI_DIR)install $(C_BUILD) "$(CURDIR)/target/c"

# Those of a debug build are none, and say so.
c-bench: agent ## its figures on the embedded cluster, each with its target: target/bench/c.json (KUBETETHER_PROFILE=dev: quick to build)
	@cargo build --workspace --locked --lib --bin sim $(C_FLAGS)
	@$(FFI_DIR)install $(C_BUILD) "$(CURDIR)/target/bench/c"
	@$(FFI_DIR)tests/bench target/bench/c $(C_BUILD) target/$(C_BUILD)/sim

c-install: agent ## the same in PREFIX (/usr/local)
	@cargo build --workspace --locked --lib $(C_FLAGS)
	@$(FFI_DIR)install $(C_BUILD) "$(or $(PREFIX),/usr/local)"
