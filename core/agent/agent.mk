# The in-cluster agent, in its two forms. Included by the root Makefile; paths are from the root.
#
#   make agent        target/agent/kubetether-agent-<arch>       carried: the loader with the agent inside
#                     target/agent/kubetether-agent-<arch>.elf   plain: what an image would hold
#   make agent-test   the loader's own tests, and the carried form started in an empty root
#
# Everything is left to cargo's own idea of what changed: with nothing to do it takes well under a second.
# Static glibc; the system's random bytes by the system call alone (Linux 3.17 and later), since without a dynamic
# loader the getrandom crate would fall back to /dev/urandom, which an empty root does not have.

AGENT_ARCH := x86_64
AGENT_TARGET := $(AGENT_ARCH)-unknown-linux-gnu
AGENT_ENV := CARGO_TARGET_$(shell echo $(AGENT_TARGET) | tr a-z- A-Z_)_RUSTFLAGS
AGENT_DIR := target/agent
AGENT_CARRIED := $(AGENT_DIR)/kubetether-agent-$(AGENT_ARCH)
AGENT_PLAIN := $(AGENT_CARRIED).elf

# A ConfigMap holds 1,048,576 bytes with its names; the rest is room for the next parts of the agent
# to be noticed before they do not fit.
AGENT_CARRIED_MAX := 1000000
AGENT_PLAIN_MAX := 3200000

.PHONY: agent agent-test agent-lint

agent:
	@mkdir -p $(AGENT_DIR)
	@$(AGENT_ENV)='-C target-feature=+crt-static -C relocation-model=static --cfg getrandom_backend="linux_getrandom"' \
		cargo build --quiet --locked --profile agent --target $(AGENT_TARGET) --package kubetether-agent
	@cmp -s target/$(AGENT_TARGET)/agent/kubetether-agent $(AGENT_PLAIN) || \
		cp target/$(AGENT_TARGET)/agent/kubetether-agent $(AGENT_PLAIN)
	@$(AGENT_ENV)="-C relocation-model=static -C force-unwind-tables=no" \
		KUBETETHER_LOADER_PAYLOAD=$(CURDIR)/$(AGENT_PLAIN) \
		cargo build --quiet --locked --release --target $(AGENT_TARGET) --target-dir target/loader \
		--manifest-path core/agent/loader/Cargo.toml --bin kubetether-loader
	@cmp -s target/loader/$(AGENT_TARGET)/release/kubetether-loader $(AGENT_CARRIED) || \
		cp target/loader/$(AGENT_TARGET)/release/kubetether-loader $(AGENT_CARRIED)
	@carried=$$(wc -c < $(AGENT_CARRIED)); plain=$$(wc -c < $(AGENT_PLAIN)); \
	echo "agent $(AGENT_ARCH): carried $$carried bytes (at most $(AGENT_CARRIED_MAX)), plain $$plain (at most $(AGENT_PLAIN_MAX))"; \
	if [ $$carried -gt $(AGENT_CARRIED_MAX) ] || [ $$plain -gt $(AGENT_PLAIN_MAX) ]; then \
		echo "agent: over its budget: see what grew with 'nm --size-sort' on an unstripped build" >&2; \
		rm -f $(AGENT_CARRIED); exit 1; \
	fi

agent-lint: agent
	@KUBETETHER_LOADER_PAYLOAD=$(CURDIR)/$(AGENT_PLAIN) \
		cargo clippy --quiet --locked --release --target-dir target/loader --target $(AGENT_TARGET) \
		--manifest-path core/agent/loader/Cargo.toml -- -D warnings
	@cargo fmt --manifest-path core/agent/loader/Cargo.toml --check

agent-test: agent
	@KUBETETHER_LOADER_PAYLOAD=$(CURDIR)/$(AGENT_PLAIN) \
		cargo test --quiet --locked --release --target-dir target/loader --target $(AGENT_TARGET) \
		--manifest-path core/agent/loader/Cargo.toml
	@KUBETETHER_AGENT_CARRIED=$(CURDIR)/$(AGENT_CARRIED) \
		cargo test --quiet --locked --package kubetether-agent --test carried --test memory --test ports -- --include-ignored
