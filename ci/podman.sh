#!/usr/bin/env bash
# The image and the Pod of examples/kubernetes, run for real by podman and runc: what a stop leaves
# of the requests in flight, the exit status, and the log. Installs what it needs by apt.
# PORT (18090) must be free.
set -euo pipefail
cd "$(dirname "$0")/.."

port=${PORT:-18090}
export DEBIAN_FRONTEND=noninteractive
skip() { echo "SKIPPED: containers ($*)"; exit 0; }
[[ $(uname -s) == Linux ]] || skip "not Linux"
[[ $(id -u) == 0 ]] || skip "not root"
if ! { command -v podman && command -v runc; } >/dev/null; then
    { apt-get update && apt-get install -y --no-install-recommends podman runc catatonit; } >/dev/null 2>&1 || true
fi
command -v podman >/dev/null || skip "no podman"
command -v runc >/dev/null || skip "no runc"

scratch=$(mktemp -d)
# Storage of its own, and nothing that a machine without a systemd would lack.
cat >"$scratch/containers.conf" <<END
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
END
export CONTAINERS_CONF=$scratch/containers.conf
podman=(podman --root "$scratch/store" --runroot "$scratch/run" --storage-driver vfs)
podman() { command "${podman[@]}" "$@"; }
clean_up() {
    podman pod rm --all --force --time 0 >/dev/null 2>&1 || true
    podman rm --all --force --time 0 >/dev/null 2>&1 || true
    umount "$scratch"/store/overlay "$scratch"/store 2>/dev/null || true
    rm -rf "$scratch"
}
trap clean_up EXIT

# The Containerfile's last stage is built as it is. What it takes from others is made here: the
# program by our cargo, and the base of the libraries that the program wants.
cargo build --quiet --example kubernetes
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
program=$target/debug/examples/kubernetes
mkdir -p "$scratch/base" "$scratch/build/src/target/release/examples"
cp "$program" "$scratch/build/src/target/release/examples/"
ldd "$program" | grep -o '/[^ ]*' | while IFS= read -r library; do
    mkdir -p "$scratch/base$(dirname "$library")"
    cp -L "$library" "$scratch/base$library"
done
containerfile=examples/kubernetes/Containerfile
base=$(sed -n 's/^FROM \([^ ]*\)$/\1/p' "$containerfile" | tail -n 1)
tar -C "$scratch/base" -c . | podman import --quiet - "$base" >/dev/null
podman build --quiet --pull=never --build-context "build=$scratch/build" --tag localhost/demo:latest \
    --file "$containerfile" "$scratch/base" >/dev/null

failures=0
expect() {
    local what=$1 is=$2 wanted=$3
    # shellcheck disable=SC2053 # WANTED is a pattern.
    if [[ $is == $wanted ]]; then
        echo "  $what: $is"
    else
        failures=$((failures + 1))
        printf '  FAILED: %s: %s, not %s\n' "$what" "$is" "$wanted"
    fi
}

listening() {
    local tries=0
    until curl -s -o /dev/null -m 2 "http://127.0.0.1:$port/livez"; do
        ((++tries < 100)) || { echo "the server does not answer" >&2; podman logs "$1" >&2; exit 2; }
        sleep 0.1
    done
}

# Starts the container `server` with these settings, and a request in it that takes that many
# seconds.
run() {
    local seconds=$1
    shift
    podman run --detach --name server --network host --env ADDR="127.0.0.1:$port" "${@/#/--env=}" \
        localhost/demo:latest >/dev/null
    listening server
    request "$seconds"
}

# Places a request, and returns once it is in flight.
request() {
    curl -s -m 60 -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/wait/$1" >"$scratch/answer" &
    asking=$!
    until ss -Htn state established "( dport = :$port )" | grep -q .; do sleep 0.02; done
    sleep 0.3
}

answer() {
    wait "$asking" || true
    cat "$scratch/answer"
}

# The exit status, once the container has ended.
status() { podman wait "$1" 2>/dev/null || podman inspect "$1" --format '{{.State.ExitCode}}'; }
log() { podman logs "$1" 2>&1; }
remove() {
    log server | sed 's/^/    | /'
    podman rm --force --time 0 server >/dev/null
}

echo 'podman stop, a request of 3 s in flight'
# What `docker stop` gives, 10 s.
run 3 TERMINATION_GRACE_PERIOD_SECONDS=10 LAME_DUCK_SECONDS=0 GRACE_SECONDS=8
podman stop server >/dev/null
expect 'exit status' "$(status server)" 0
expect 'answer' "$(answer)" 200
expect 'the last line' "$(log server | tail -n 1)" 'drained: 1 in flight * none abandoned; *'
remove

echo 'podman stop --time 1, a request of 30 s in flight'
run 30 LAME_DUCK_SECONDS=0
podman stop --time 1 server >/dev/null 2>&1
expect 'exit status' "$(status server)" 137
expect 'answer' "$(answer)" 000
expect 'the last line' "$(log server | tail -n 1)" '*draining, 1 in flight*at most*'
remove

echo 'three SIGTERMs, the server being PID 1'
run 30
for _ in 1 2 3; do
    podman kill --signal TERM server >/dev/null
    sleep 0.5 # less than 250 ms apart they would be one
done
expect 'exit status' "$(status server)" 143
answer >/dev/null
remove

echo 'a budget that does not fit'
timeout 20 "${podman[@]}" run --name server --network host --env GRACE_SECONDS=40 localhost/demo:latest >/dev/null 2>&1 || true
expect 'exit status' "$(status server)" 2
expect 'the last line' "$(log server | tail -n 1)" 'error: *40 s*30 s*'
remove

echo 'the Deployment, stopped within its grace period, a request of 12 s in flight'
grace=$(sed -n 's/.*terminationGracePeriodSeconds: //p' examples/kubernetes/deployment.yaml)
# On the host's network, and without probes, which podman leaves to systemd.
sed -e "s/0\.0\.0\.0:8080/127.0.0.1:$port/" -e 's/replicas: 3/replicas: 1/' \
    -e '/ports:/,/containerPort:/d' -e '/readinessProbe:/,/periodSeconds: 10/d' \
    -e '/terminationGracePeriodSeconds/i\      hostNetwork: true' \
    examples/kubernetes/deployment.yaml >"$scratch/deployment.yaml"
podman play kube "$scratch/deployment.yaml" >/dev/null
pod=$(podman pod ps --format '{{.Name}}')
listening "$pod-server"
request 12
# podman 4.3 doesn't take the time from the Pod, but stops after 10 s.
podman pod stop --time "$grace" "$pod" >/dev/null &
stopping=$!
until log "$pod-server" | grep -q 'lame duck'; do sleep 0.1; done
expect 'ready in lame duck' "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/readyz")" 200
wait "$stopping"
expect 'exit status' "$(status "$pod-server")" 0
expect 'answer' "$(answer)" 200
log "$pod-server" | sed 's/^/    | /'
podman play kube --down "$scratch/deployment.yaml" >/dev/null

echo "$failures failed"
((failures == 0))
