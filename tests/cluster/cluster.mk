# The real-cluster rung; included by the root Makefile. See tests/cluster/README.md.
CLUSTER_DIR := $(dir $(lastword $(MAKEFILE_LIST)))

.PHONY: cluster cluster-down cluster-check

cluster: ## start a real Kubernetes, or find it running
	@$(CLUSTER_DIR)up

cluster-down: ## remove it wholly
	@$(CLUSTER_DIR)down

cluster-check: ## use it in every way the tests rely on
	@$(CLUSTER_DIR)check
