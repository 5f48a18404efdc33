# The VS Code extension. Included by the root Makefile; paths are from the root. As in node.mk: KUBETETHER_PROFILE=dev is quick to build.
.PHONY: code code-test code-bench code-pictures

code: ## the VS Code extension, with native module and agent inside: target/code/kubetether-*.vsix
	@bindings-node/build
	@cd vscode-extension && npm ci --silent --ignore-scripts && ./package

code-test: ## the extension's rung: types, tests, package, and in a real editor
	@tests/run code

code-bench: CODE_TOOLS ?= $(or $(KUBETETHER_CODE_TOOLS),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/kubetether/code)
code-bench: code workload ## its figures in a real editor, on the embedded cluster, each with its target: target/bench/code.json
	@cargo build --workspace --locked $(NODE_FLAGS) --bin sim
	@cd vscode-extension && test/e2e/setup $(CODE_TOOLS) && \
	  SIM=$(CURDIR)/target/$(if $(NODE_FLAGS),release,debug)/sim KUBETETHER_CODE_TOOLS=$(CODE_TOOLS) node test/e2e/bench.mjs

code-pictures: ## the pictures of its README, by the tests (after make code-test)
	@cd vscode-extension && KUBETETHER_PICTURES=media node --test test/e2e/{debug,traffic,tree}.e2e.mjs
