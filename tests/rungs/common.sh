# Sourced by every rung: run from the repository's root with descriptor 3 open for notes.
set -euo pipefail

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

# again LOG: those few that failed, once more and one at a time. A scenario has a whole cluster under it, all on this machine, and
# more of them at once than it has processors; what fails twice, or more than a few, is no accident. The table names them.
again() {
  local failed binary test
  failed=$(sed -nE 's|^ *Running .*/deps/([a-z_]+)-[0-9a-f]+\)$|@\1|p; s/^test (.*) \.\.\. FAILED$/\1/p' "$1" |
    awk '/^@/ { binary = substr($0, 2); next } { print binary, $0 }')
  [ -n "$failed" ] && [ "$(wc -l <<<"$failed")" -le 3 ] || return 1
  while read -r binary test; do
    printf '\n=== once more, alone: %s %s\n' "$binary" "$test"
    cargo test --workspace --locked --test "$binary" -- --exact "$test" </dev/null || return 1
    note "$binary $test: only at the second try"
  done <<<"$failed"
}
