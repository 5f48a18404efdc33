# Sourced by every rung: run from the repository's root with descriptor 3 open for notes.
set -euo pipefail
# What is built for the tests is quick to build; what `make` builds for use is not.
export KUBETETHER_PROFILE=dev

# note TEXT: into the table at the end.
note() { echo "$*" >&3; }

# leave_out REASON: this rung cannot run here.
leave_out() { note "$*"; exit 77; }

# tests_of DIR...: cargo's arguments for the integration tests in these folders. Tests are always picked out of the whole
# workspace by these: with `-p` cargo would choose other features for shared dependencies and build the world once more.
tests_of() {
  local dir file
  for dir; do
    for file in "$dir"/*.rs "$dir"/*/main.rs; do
      [ -e "$file" ] || continue
      file=${file%/main.rs}
      file=${file##*/}
      echo "--test=${file%.rs}"
    done
  done
}

# once_more MOST FAILED CMD...: of the tests that failed, one in each line of FAILED, each once more and alone: CMD with its name. On
# a machine that does all at once a few may fail by accident, and the table names them; more than MOST are none, nor what fails twice.
once_more() {
  # CMD sees these: names of its own rung must not be among them.
  local once_most=$1 once_failed=$2 once_test
  shift 2
  [ -n "$once_failed" ] && [ "$(wc -l <<<"$once_failed")" -le "$once_most" ] || return 1
  while read -r once_test; do
    printf '\n=== once more, alone: %s\n' "$once_test"
    "$@" "$once_test" </dev/null || return 1
    note "$once_test: only at the second try"
  done <<<"$once_failed"
}

# again LOG: that for the scenarios of a log of `cargo test`. Of a binary that was killed nobody knows which tests did not run.
again() {
  ! grep -F '(signal: ' "$1" || return 1
  scenario_alone() { cargo test --workspace --locked --test "${1%% *}" -- --exact "${1#* }"; }
  once_more 3 "$(sed -nE 's|^ *Running .*/deps/([a-z_]+)-[0-9a-f]+\)$|@\1|p; s/^test (.*) \.\.\. FAILED$/\1/p' "$1" |
    awk '/^@/ { binary = substr($0, 2); next } { print binary, $0 }')" scenario_alone
}

# real_cluster: KUBETETHER_TEST_KUBECONFIG names a real cluster from here on, whose nodes have the image of the tests: the one given, else
# that of `make cluster`, which is started where it does not run, and then goes with the rung. Fails, with $reason, where none can run.
root=$PWD
in_cluster() { bash -c '. "$1/tests/cluster/common.sh"; eval "$2"' - "$root" "$1"; }
real_cluster() {
  [ -z "${KUBETETHER_TEST_KUBECONFIG:-}" ] || return 0
  reason=$("$root/tests/cluster/available") || return 1
  in_cluster alive || trap '"$root/tests/cluster/down"' EXIT
  # Where it is asked for in a condition, `set -e` ends nothing.
  "$root/tests/cluster/up" || exit 1
  make -C "$root" workload-image || exit 1
  "$root/tests/cluster/load" "$root/target/workload/workload.tar" || exit 1
  KUBETETHER_TEST_KUBECONFIG=$(in_cluster 'echo "$STATE/kubeconfig"') || exit 1
  export KUBETETHER_TEST_KUBECONFIG
}

# node_suite AT_ONCE FILE...: test files of Node, so many at once, by the program $node, each test within $node_limit ms. Those that fail
# are in $node_failed, a line of file and name for each.
node=node node_limit=300000 node_failed=$root/target/node-failed.txt
node_suite() {
  "$node" --test --test-concurrency="$1" --test-timeout="$node_limit" --test-reporter=spec --test-reporter-destination=stdout \
    --test-reporter="$root/bindings-node/test/support/failed.mjs" --test-reporter-destination="$node_failed" "${@:2}"
}
node_file_alone() { node_suite 1 "${1%%: *}"; }

# node_tests MOST AT_ONCE FILE...: the same, and once more what failed, if it is no more than MOST.
node_tests() { node_suite "${@:2}" || once_more "$1" "$(cat "$node_failed")" node_file_alone; }
