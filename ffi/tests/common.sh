# Sourced by what uses the library of PREFIX, from the repository's root: a folder $work and an embedded cluster, both gone at the end.
set -euo pipefail
prefix=$(readlink -f "$1")
work=$(mktemp -d)
sim=
finish() {
  [ -z "$sim" ] || { kill "$sim"; wait "$sim" || true; }
  rm -rf "$work"
}
trap finish EXIT

export PKG_CONFIG_PATH=$prefix/lib/pkgconfig LD_LIBRARY_PATH=$prefix/lib

# start_cluster PROGRAM ARGS...: returns when it answers; KUBECONFIG is its.
start_cluster() {
  "$@" --folder "$work/sim" >"$work/sim.log" 2>&1 &
  sim=$!
  until [ -s "$work/sim.log" ]; do
    kill -0 $sim || { cat "$work/sim.log" >&2; exit 1; }
    sleep 0.05
  done
  export KUBECONFIG=$work/sim/kubeconfig
}
