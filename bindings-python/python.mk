# The Python package. Included by the root Makefile; paths are from the root.
PYTHON_DIR := bindings-python
PYTHON_ENV := target/python/venv

.PHONY: python python-wheel python-env python-test python-bench

# The environment is made anew when the lock file changes. maturin takes the agent's files from the package's folder.
$(PYTHON_ENV)/ready: $(PYTHON_DIR)/requirements.lock
	@rm -rf $(PYTHON_ENV)
	@python3 -m venv $(PYTHON_ENV)
	@$(PYTHON_ENV)/bin/pip install --quiet --disable-pip-version-check --requirement $(PYTHON_DIR)/requirements.lock
	@touch $@

# What people use is a release build; what the tests use is as quick to build as they are. Named, KUBETETHER_PROFILE is heeded by all.
python: export KUBETETHER_PROFILE ?= release
python: python-wheel ## the Python wheel, with the agent inside: target/python/dist (KUBETETHER_PROFILE=dev: quick to build)

python-wheel: agent $(PYTHON_ENV)/ready
	@mkdir -p $(PYTHON_DIR)/python/kubetether/agent
	@cp -u target/agent/kubetether-agent-x86_64 target/agent/kubetether-restore-x86_64 $(PYTHON_DIR)/python/kubetether/agent/
	@rm -rf target/python/dist
	@$(PYTHON_ENV)/bin/maturin build --quiet --locked --manifest-path $(PYTHON_DIR)/Cargo.toml \
	  --profile $${KUBETETHER_PROFILE:-dev} --compatibility linux --out target/python/dist
	@ls -l target/python/dist/*.whl

# Nothing of the checkout's own package: what is tested is what was installed.
python-env: python-wheel ## an environment with that wheel and all that its tests need: target/python/venv
	@$(PYTHON_ENV)/bin/pip install --quiet --disable-pip-version-check --force-reinstall --no-deps target/python/dist/*.whl

python-test: ## the Python package's rung: types, suite, README, examples
	@tests/run python

# The figures are those of the release build, and of a machine that has nothing else to do.
python-bench: export KUBETETHER_PROFILE ?= release
python-bench: python-env workload ## its figures on the embedded cluster, each with its target: target/bench/python.json (KUBETETHER_PROFILE=dev)
	@cargo build --workspace --locked --profile $$KUBETETHER_PROFILE --bin sim
	@KUBETETHER_SIM=$(CURDIR)/target/$$(sed 's/^dev$$/debug/' <<<$$KUBETETHER_PROFILE)/sim $(PYTHON_ENV)/bin/python $(PYTHON_DIR)/benches/figures.py
