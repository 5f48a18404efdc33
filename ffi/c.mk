# kubetether for C as it is installed; included by the root Makefile.
FFI_DIR := $(dir $(lastword $(MAKEFILE_LIST)))

.PHONY: c c-install c-bench

c: agent ## the library for C: target/c with header, libraries, pkg-config file and agent
	@cargo build --workspace --locked --lib $(if $(filter release,$(PROFILE)),--release)
	@$(FFI_DIR)install $(or $(PROFILE),debug) "$(CURDIR)/target/c"

# Those of a debug build are none, and say so.
c-bench: agent ## its figures on the embedded cluster, each with its target: target/bench/c.json (KUBETETHER_PROFILE=dev: quick to build)
	@cargo build --workspace --locked --lib --bin sim $(if $(filter dev,$(KUBETETHER_PROFILE)),,--release)
	@build=$(if $(filter dev,$(KUBETETHER_PROFILE)),debug,release); \
	$(FFI_DIR)install $$build "$(CURDIR)/target/bench/c"; \
	$(FFI_DIR)tests/bench target/bench/c $$build target/$$build/sim

c-install: agent ## the same built for use, in PREFIX (/usr/local)
	@cargo build --locked --release -p kubetether-ffi
	@$(FFI_DIR)install release "$(or $(PREFIX),/usr/local)"
