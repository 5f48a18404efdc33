# The Python package. Included by the root Makefile; paths are from the root.
PYTHON_DIR := bindings-python
PYTHON_ENV := target/python/venv

.PHONY: python python-test

# The environment is made anew when the lock file changes. maturin takes the agent's files from the package's folder.
$(PYTHON_ENV)/ready: $(PYTHON_DIR)/requirements.lock
	@rm -rf $(PYTHON_ENV)
	@python3 -m venv $(PYTHON_ENV)
	@$(PYTHON_ENV)/bin/pip install --quiet --disable-pip-version-check --requirement $(PYTHON_DIR)/requirements.lock
	@touch $@

# As small as it can be with KUBETETHER_PROFILE=release; else as quick to build as the tests.
python: agent $(PYTHON_ENV)/ready ## the Python wheel, with the agent inside: target/python/dist (KUBETETHER_PROFILE=release)
	@mkdir -p $(PYTHON_DIR)/python/kubetether/agent
	@cp -u target/agent/kubetether-agent-x86_64 target/agent/kubetether-restore-x86_64 $(PYTHON_DIR)/python/kubetether/agent/
	@rm -rf target/python/dist
	@$(PYTHON_ENV)/bin/maturin build --quiet --locked --manifest-path $(PYTHON_DIR)/Cargo.toml \
	  --profile $${KUBETETHER_PROFILE:-dev} --compatibility linux --out target/python/dist
	@ls -l target/python/dist/*.whl

python-test: ## the Python package's rung: types, suite, README, examples
	@tests/run python
