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
