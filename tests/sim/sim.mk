# The embedded cluster; included by the root Makefile.
SIM_DIR := $(dir $(lastword $(MAKEFILE_LIST)))

.PHONY: sim demo-programs

sim: workload ## a cluster on loopback in the foreground, until Ctrl-C: target/sim/kubeconfig
	@cargo build --locked --workspace --bin sim
	@exec target/debug/sim --image $(WORKLOAD_REFERENCE)=target/workload/workload $(SIM_ARGS)

# With the whole workspace, as the command is.
demo-programs:
	@cargo build --workspace --locked --bin kubetether --bin demo
