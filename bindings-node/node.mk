# The npm package. Included by the root Makefile; paths are from the root.
.PHONY: node node-test node-bench

node: ## the npm package, with native module and agent inside: target/node/kubetether-*.tgz, as small as it can be
	@bindings-node/build --release
	@mkdir -p target/node
	@cd bindings-node && npm pack --silent --ignore-scripts --pack-destination ../target/node

node-test: ## the npm package's rung: types, suite, README, example
	@tests/run node

node-bench: node workload ## its figures on the embedded cluster: target/bench/node.json
	@cargo build --workspace --locked --release --bin sim
	@cd bindings-node && npm install --no-save --silent --ignore-scripts && SIM=$(CURDIR)/target/release/sim node bench/bench.mjs
