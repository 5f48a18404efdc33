# Sourced by every script here: where things are, what the caller chose, and the few helpers that all share.
set -euo pipefail

HERE=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
NODES=${KUBETETHER_CLUSTER_NODES:-1}
PROXY=${KUBETETHER_CLUSTER_PROXY:-nftables}
PORT=${KUBETETHER_CLUSTER_PORT:-16443}
# A relative state directory is the repository's, so that it means the same from everywhere.
STATE=$(cd "$HERE/../.." && realpath -m "${KUBETETHER_CLUSTER_STATE:-target/cluster}")
CACHE=${XDG_CACHE_HOME:-${HOME:?is needed to find the cache}/.cache}/kubetether/cluster

# Each node has a cgroup GROUP-NODE in every hierarchy. It is how the cluster's processes are found again, with or without the state
# directory, and never mistaken for somebody else's. The whole path is in the name: two checkouts may both have a target/cluster.
GROUP=kubetether-$(basename "$STATE")-$(cksum <<<"$STATE" | cut -d' ' -f1)

# The nodes' own network. It exists inside their network namespaces only, so no cluster meets another or the machine's addresses.
node_address() { echo "172.31.0.$1"; }
pod_cidr() { echo "10.244.$1.0/24"; }
CLUSTER_CIDR=10.244.0.0/16
SERVICE_CIDR=10.96.0.0/16
API_SERVICE=10.96.0.1 # the first of SERVICE_CIDR: Kubernetes gives it to the Service "kubernetes"
DNS_SERVICE=10.96.0.10
API_SERVER=$(node_address 1)

# How long the start waits for any one thing, in seconds. Long, because what fails is noticed by its end and not by the clock, and a
# loaded machine is no fault.
PATIENCE=180

die() { echo "${0##*/}: $*" >&2; exit 1; }

# say WHAT: prints WHAT was reached and how long after the script's start.
START=$EPOCHREALTIME
since() { echo $(((${EPOCHREALTIME/./} - ${1/./}) / 1000)); }
say() { printf '%6d ms  %s\n' "$(since "$START")" "$*"; }

# eventually SECONDS CMD...: tries CMD every 50 ms until it succeeds, at most for SECONDS.
eventually() {
  local start=$EPOCHREALTIME limit=$(($1 * 1000))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$(since "$start")" -lt "$limit" ] || return 1
    sleep 0.05
  done
}

# daemon NAME CMD...: leaves CMD running, with its output at the end of the state directory's log/NAME.log. No descriptor of the
# caller is passed on: a lock held by it would be held for the daemon's life.
daemon() {
  local name=$1 fd
  shift
  mkdir -p "$STATE/log"
  (
    for fd in /proc/self/fd/*; do
      fd=${fd##*/}
      [ "$fd" -le 2 ] || eval "exec $fd>&-"
    done
    exec setsid "$@" </dev/null >>"$STATE/log/$name.log" 2>&1
  ) &
}

# Cgroups are one tree (version 2) or one tree for each controller (version 1).
unified() { [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; }
controllers() { awk -F: '$2 != "" { print $2 }' /proc/self/cgroup; } # of version 1; name=systemd is one, too
# cgroups_of NODE: the node's cgroup in each tree, whether it exists or not.
cgroups_of() {
  local controller
  if unified; then
    echo "/sys/fs/cgroup/$GROUP-$1"
  else
    for controller in $(controllers); do echo "/sys/fs/cgroup/${controller#name=}/$GROUP-$1"; done
  fi
}
# enter_cgroups_of NODE: takes the calling shell there. In one tree a cgroup that limits others has no process of its own: the node's
# are in a cgroup "system" beside its pods'.
enter_cgroups_of() {
  local d leaf=
  ! unified || leaf=/system
  for d in $(cgroups_of "$1"); do echo "$BASHPID" >"$d$leaf/cgroup.procs"; done
}

# pid_of NODE: its first process, as seen from outside; fails when it does not live.
pid_of() {
  local pid
  pid=$(cat "$STATE/$1/pid" 2>/dev/null) && grep -qsE "/$GROUP-$1(/system)?\$" "/proc/$pid/cgroup" && echo "$pid"
}

# alive: every node of this state directory lives and is Ready. A slow answer is waited for: nobody's cluster is to be cleared away
# because the machine is busy.
alive() {
  local node
  [ -e "$STATE/kubeconfig" ] || return
  for node in "$STATE"/node?/; do pid_of "$(basename "$node")" >/dev/null || return; done
  eventually 20 "$STATE/bin/kubectl" --kubeconfig="$STATE/kubeconfig" --request-timeout=10s wait --for=condition=Ready --timeout=5s nodes --all
}
