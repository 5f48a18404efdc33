# The npm package. Included by the root Makefile; paths are from the root. Built as it is published, unless KUBETETHER_PROFILE is dev.
NODE_FLAGS = $(if $(filter dev,$(KUBETETHER_PROFILE)),,--release)

.PHONY: node node-test node-bench

node: ## the npm package, with native module and agent inside: target/node/kubetether-*.tgz (KUBETETHER_PROFILE=dev: quick to build)
	@bindings-node/build
	@mkdir -p target/node
	@rm -f target/node/*.tgz
	@cd bindings-node && npm pack --silent --ignore-scripts --pack-destination ../target/node

node-test: ## the npm package's rung: types, suite, README, example
	@tests/run node

node-bench: node workload ## its figures on the embedded cluster, each with its target: target/bench/node.json (KUBETETHER_PROFILE=dev)
	@cargo build --workspace --locked $(NODE_FLAGS) --bin sim
	@cd bindings-node && npm install --no-save --silent --ignore-scripts && \
	  SIM=$(CURDIR)/target/$(if $(NODE_FLAGS),release,debug)/sim node bench/bench.mjs
