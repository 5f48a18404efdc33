# kubetether for C as it is installed; included by the root Makefile.
FFI_DIR := $(dir $(lastword $(MAKEFILE_LIST)))

.PHONY: c c-install

c: agent ## the library for C: target/c with header, libraries, pkg-config file and agent
	@cargo build --workspace --locked --lib $(if $(filter release,$(PROFILE)),--release)
	@$(FFI_DIR)install $(or $(PROFILE),debug) "$(CURDIR)/target/c"

c-install: agent ## the same built for use, in PREFIX (/usr/local)
	@cargo build --locked --release -p kubetether-ffi
	@$(FFI_DIR)install release "$(or $(PREFIX),/usr/local)"
