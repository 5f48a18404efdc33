# Fuzzing of the link's public inputs; included by the root Makefile, paths are from the root.
#
#   make fuzz TARGET=peer SECONDS=300   explores; what fails is put into core/wire/fuzz/artifacts
#   make fuzz-keep TARGET=peer          adds to core/wire/fuzz/corpus what reaches code that nothing there does
#
# A normal `cargo test` replays core/wire/fuzz/corpus and needs none of this.

FUZZ_DIR := core/wire/fuzz
FUZZ_TARGETS := $(basename $(notdir $(wildcard $(FUZZ_DIR)/fuzz_targets/*.rs)))
# Installed when it is not there.
CARGO_FUZZ_VERSION := 0.13.2
CARGO_FUZZ := $(CURDIR)/target/tools/bin/cargo-fuzz
# What it explores beyond what is checked in.
FUZZ_CORPUS := target/fuzz-corpus
FUZZ_LIMITS := -rss_limit_mb=1024 -timeout=20 -max_len=4096
SECONDS ?= 60

.PHONY: fuzz fuzz-keep

# Coverage and the address sanitizer are options that stable compilers keep for later.
FUZZ := RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$(CURDIR)/target/fuzz $(CARGO_FUZZ)

fuzz: $(CARGO_FUZZ) ## the link's inputs: one TARGET, or all of them, for SECONDS each
	@for target in $(or $(TARGET),$(FUZZ_TARGETS)); do \
	  mkdir -p $(FUZZ_CORPUS)/$$target; \
	  (cd core/wire && $(FUZZ) run --fuzz-dir fuzz $$target $(CURDIR)/$(FUZZ_CORPUS)/$$target fuzz/corpus/$$target \
	    -- $(FUZZ_LIMITS) -max_total_time=$(SECONDS) -print_final_stats=1); \
	done

fuzz-keep: $(CARGO_FUZZ)
	@for target in $(or $(TARGET),$(FUZZ_TARGETS)); do \
	  (cd core/wire && $(FUZZ) run --fuzz-dir fuzz $$target fuzz/corpus/$$target $(CURDIR)/$(FUZZ_CORPUS)/$$target \
	    -- -merge=1 -use_counters=0 $(FUZZ_LIMITS) -max_len=1024); \
	done

$(CARGO_FUZZ):
	cargo install cargo-fuzz --locked --version $(CARGO_FUZZ_VERSION) --root target/tools
