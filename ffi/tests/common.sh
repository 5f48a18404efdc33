# Sourced by what uses the library of PREFIX, from the repository's root: a folder $work and embedded clusters, all gone at the end.
set -euo pipefail
prefix=$(readlink -f "$1")
work=$(mktemp -d)
sims=()
finish() {
  local sim
  for sim in "${sims[@]}"; do kill "$sim"; wait "$sim" || true; done
  rm -rf "$work"
}
trap finish EXIT

export PKG_CONFIG_PATH=$prefix/lib/pkgconfig LD_LIBRARY_PATH=$prefix/lib

# start_cluster PROGRAM ARGS...: returns when it answers; KUBECONFIG is its. The second one gives another.
start_cluster() {
  local folder=$work/sim${#sims[@]}
  "$@" --folder "$folder" >"$folder.log" 2>&1 &
  sims+=($!)
  until [ -s "$folder.log" ]; do
    kill -0 $! || { cat "$folder.log" >&2; exit 1; }
    sleep 0.05
  done
  export KUBECONFIG=$folder/kubeconfig
}
