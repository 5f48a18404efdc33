# The scenarios' workload and the benches; included by the root Makefile.
TESTS_DIR := $(dir $(lastword $(MAKEFILE_LIST)))

.PHONY: workload workload-image scenarios kill-matrix bench soak

# The reference that pods name; there is no registry behind it.
WORKLOAD_REFERENCE := kubetether.test/workload:1

# A target of its own keeps the static flags away from everything else that is built here.
workload: ## the tests' program in all pods: target/workload/workload
	@triple=$$(rustc -vV | sed -n 's/^host: //p'); \
	flags=CARGO_TARGET_$$(tr 'a-z-' 'A-Z_' <<<"$$triple")_RUSTFLAGS; \
	env "$$flags=-C target-feature=+crt-static -C strip=symbols" \
	  cargo build --quiet --release --locked --target "$$triple" -p kubetether-workload; \
	mkdir -p target/workload; \
	cp -u --remove-destination "target/$$triple/release/workload" target/workload/workload

workload-image: workload ## its image: target/workload/workload.tar
	@$(TESTS_DIR)cluster/mkimage --user 65532:65532 target/workload/workload.tar $(WORKLOAD_REFERENCE) /workload \
	  target/workload/workload=/workload

# Scenarios wait much more than they work: more of them at once than there are processors.
scenarios: cluster workload-image agent ## the scenarios on the real cluster, which stays up (ONLY=name for some)
	@$(TESTS_DIR)cluster/load target/workload/workload.tar
	@export KUBETETHER_TEST_KUBECONFIG=$${KUBETETHER_TEST_KUBECONFIG:-$(CURDIR)/target/cluster/kubeconfig}; \
	RUST_TEST_THREADS=$${RUST_TEST_THREADS:-6} cargo test --workspace --locked --no-fail-fast --test scenarios --test load --test link --test outage -- $(ONLY)

kill-matrix: cluster workload-image agent ## clients and agents killed at every request, at every level of rights: target/kill-matrix (ONLY=name for some)
	@$(TESTS_DIR)cluster/load target/workload/workload.tar
	@rm -rf target/kill-matrix
	@export KUBETETHER_TEST_KUBECONFIG=$${KUBETETHER_TEST_KUBECONFIG:-$(CURDIR)/target/cluster/kubeconfig} KUBETETHER_KILL_MATRIX=whole; \
	cargo test --workspace --locked --no-fail-fast --test kill -- --include-ignored --skip embedded::a_client_that_exchanges $(ONLY) || failed=1; \
	cat target/kill-matrix/*.txt; exit $${failed:-0}

bench: cluster workload-image agent ## the figures of design and README: a table, and target/bench/*.json (ONLY=group for some)
	@$(TESTS_DIR)cluster/load target/workload/workload.tar
	@export KUBETETHER_TEST_KUBECONFIG=$${KUBETETHER_TEST_KUBECONFIG:-$(CURDIR)/target/cluster/kubeconfig}; \
	cargo build --release --locked --workspace --bin bench --bin kubetether --bin sim --bin demo && target/release/bench $(ONLY)

soak: cluster workload-image agent ## minutes of mixed load and cuts: memory and descriptors must not grow (KUBETETHER_SOAK_MINUTES, 10)
	@$(TESTS_DIR)cluster/load target/workload/workload.tar
	@export KUBETETHER_TEST_KUBECONFIG=$${KUBETETHER_TEST_KUBECONFIG:-$(CURDIR)/target/cluster/kubeconfig}; \
	cargo build --release --locked --workspace --bin bench --bin kubetether && target/release/bench soak
