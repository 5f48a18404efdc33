# The in-cluster agent, in its two forms. Included by the root Makefile; paths are from the root.
#
#   make agent        target/agent/kubetether-agent-<arch>       carried: the loader with the agent inside
#                     target/agent/kubetether-agent-<arch>.elf   plain: what an image would hold
#                     target/agent/kubetether-restore-<arch>     carried: what puts a Service back from inside
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
RESTORE_CARRIED := $(AGENT_DIR)/kubetether-restore-$(AGENT_ARCH)
RESTORE_PLAIN := $(RESTORE_CARRIED).elf

# A ConfigMap holds 1,048,576 bytes with its names; the rest is room for the next parts of the agent
# to be noticed before they do not fit.
AGENT_CARRIED_MAX := 1000000
AGENT_PLAIN_MAX := 3200000
# A piece of its own, in a ConfigMap of its own: both together stay below 2 MiB.
RESTORE_CARRIED_MAX := 1000000
RESTORE_PLAIN_MAX := 2400000

.PHONY: agent agent-test agent-lint

# $(call carry,PROGRAM,FOLDER): the loader with that plain program inside. Each has a target folder of its own, or
# nothing would ever be up to date.
define carry
$(AGENT_ENV)="-C relocation-model=static -C force-unwind-tables=no" \
	KUBETETHER_LOADER_PAYLOAD=$(CURDIR)/$(1).elf \
	cargo build --quiet --locked --release --target $(AGENT_TARGET) --target-dir $(2) \
	--manifest-path core/agent/loader/Cargo.toml --bin kubetether-loader && \
	{ cmp -s $(2)/$(AGENT_TARGET)/release/kubetether-loader $(1) || \
	cp $(2)/$(AGENT_TARGET)/release/kubetether-loader $(1); }
endef

agent:
	@mkdir -p $(AGENT_DIR)
	@$(AGENT_ENV)='-C target-feature=+crt-static -C relocation-model=static --cfg getrandom_backend="linux_getrandom"' \
		cargo build --quiet --locked --profile agent --target $(AGENT_TARGET) --package kubetether-agent
	@for program in agent restore; do \
		built=target/$(AGENT_TARGET)/agent/kubetether-$$program plain=$(AGENT_DIR)/kubetether-$$program-$(AGENT_ARCH).elf; \
		cmp -s $$built $$plain || cp $$built $$plain; \
	done
	@$(call carry,$(AGENT_CARRIED),target/loader)
	@$(call carry,$(RESTORE_CARRIED),target/loader-restore)
	@budget() { \
		carried=$$(wc -c < $$1); plain=$$(wc -c < $$1.elf); \
		echo "$$(basename $$1): carried $$carried bytes (at most $$2), plain $$plain (at most $$3)"; \
		if [ $$carried -gt $$2 ] || [ $$plain -gt $$3 ]; then \
			echo "agent: over its budget: see what grew with 'nm --size-sort' on an unstripped build" >&2; \
			rm -f $$1; exit 1; \
		fi; \
	}; \
	budget $(AGENT_CARRIED) $(AGENT_CARRIED_MAX) $(AGENT_PLAIN_MAX); \
	budget $(RESTORE_CARRIED) $(RESTORE_CARRIED_MAX) $(RESTORE_PLAIN_MAX)

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
