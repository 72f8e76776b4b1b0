#!/usr/bin/env bash
# What a service of systemd keeps, under a real `systemd --user` with the units of examples/systemd:
#
# - socket activation, and 20 restarts under load: no request lost, none refused;
# - the same without a socket unit, with a listener that systemd stores;
# - a stop that takes longer than TimeoutStopSec=, with and without a request to wait, and also if
#   the drain was begun by hand before;
# - a service that is slow to start is ready when it is warm;
# - the watchdog, while the service runs, while it drains, and when it is stuck, the last also if
#   only its executor is, while the thread of `run_with_watchdog` goes on;
# - a stop that abandons work doesn't leave the unit failed, if its exit status is a success;
# - a supervisor's socket that is gone.
#
# systemd runs in namespaces of its own, and in cgroups that are removed at the end. Where the
# machine forbids that, this says so and skips. RESTARTS sets the number of restarts; PROFILE=dev
# takes what `cargo test` has built. A name as argument runs that part alone.
set -euo pipefail
cd "$(dirname "$0")/.."

parts=(activation stored timeouts by-hand warm-up watchdog status gone)
manager=/lib/systemd/systemd

if [[ ${1:-} != --inside ]]; then
    skip() { echo "SKIPPED: systemd ($*)"; exit 0; }
    install() {
        [[ $(id -u) == 0 ]] || skip "no $1, and no right to install it"
        apt-get install -y --no-install-recommends "$2" >/dev/null 2>&1 ||
            { apt-get update && apt-get install -y --no-install-recommends "$2"; } >/dev/null 2>&1 ||
            skip "no $1"
    }
    [[ $(uname) == Linux ]] || skip "not Linux"
    [[ -x $manager ]] || install systemd systemd
    command -v curl >/dev/null || install curl curl
    unshare -mpf --mount-proc --kill-child true 2>/dev/null || skip "no namespaces"

    profile=${PROFILE:-release}
    cargo build --quiet --profile "$profile" --bin hyper --bin local --bin witness
    cargo build --quiet --profile "$profile" --example systemd
    target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')

    work=$(mktemp -d)
    name=async-drain-$$
    groups=()
    clean() {
        for group in "${groups[@]}"; do
            find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
        done
        rm -rf "$work"
    }
    trap clean EXIT
    for root in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup; do
        if [[ -e $root/cgroup.procs ]]; then
            mkdir "$root/$name" 2>/dev/null || skip "no right to make a cgroup"
            groups+=("$root/$name")
        fi
    done
    export WORK=$work BIN=$target/${profile/#dev/debug} GROUPS_OF_OURS="${groups[*]}"
    status=0
    unshare -mpf --mount-proc --kill-child "$0" --inside "$@" || status=$?
    if ((status == 77)); then skip "the manager doesn't start"; fi
    exit "$status"
fi
shift

# --- inside the namespaces

mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/user/0
for group in $GROUPS_OF_OURS; do echo $$ >"$group/cgroup.procs"; done
export XDG_RUNTIME_DIR=/run/user/0 HOME=$WORK
unset DBUS_SESSION_BUS_ADDRESS NOTIFY_SOCKET LISTEN_FDS LISTEN_PID
units=$WORK/.config/systemd/user
mkdir -p "$units"
"$manager" --user --unit=basic.target --log-level=notice >"$WORK/manager" 2>&1 &

ctl() { systemctl --user "$@"; }
show() { ctl show --value -p "$2" "$1"; }
# Waits until a command succeeds, for at most ten seconds.
until_true() {
    for _ in $(seq 100); do
        if "$@"; then return; fi
        sleep 0.1
    done
    return 1
}
is_up() { ctl is-system-running 2>/dev/null | grep -q -e running -e degraded; }
until_true is_up || exit 77

passed=0
failed=0
# expect WHAT IS SHOULD
expect() {
    if [[ $2 == "$3" ]]; then
        passed=$((passed + 1))
        echo "  ok: $1: $2"
    else
        failed=$((failed + 1))
        echo "  FAILED: $1: '$2', and not '$3'"
    fi
}
# Takes the unit of examples/systemd, with these lines of [Service] instead of its own.
service() {
    ctl stop example.socket example.service 2>/dev/null || true
    ctl reset-failed 2>/dev/null || true
    rm -rf "$units"/*
    cp examples/systemd/example.{service,socket} "$units"
    mkdir "$units/example.service.d" "$units/example.socket.d"
    {
        printf '[Unit]\nStartLimitIntervalSec=0\n'
        printf '[Service]\nExecStart=\nExecStart=%s/hyper\n' "$BIN"
        printf 'StandardError=append:%s/stderr\nStandardOutput=append:%s/stdout\n' "$WORK" "$WORK"
        # systemd forgets how a unit ended that is not failed.
        printf "ExecStopPost=/bin/sh -c 'echo \$\$SERVICE_RESULT \$\$EXIT_STATUS >%s/result'\n" "$WORK"
        printf '%s\n' "$@"
    } >"$units/example.service.d/ci.conf"
    printf '[Socket]\nListenStream=\nListenStream=127.0.0.1:%s\n' "$port" \
        >"$units/example.socket.d/ci.conf"
    ctl daemon-reload
}
# How the last run ended, in systemd's words, and its exit status.
result() { cat "$WORK/result"; }
# A port that was free a moment ago.
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
port=$(free_port)
url=http://127.0.0.1:$port
get() { curl --silent --show-error --max-time 30 --output /dev/null --write-out '%{http_code}' "$url$1" 2>&1 || true; }
is_busy() { [[ $(show example.service StatusText) == *draining* ]]; }
pid() { show example.service MainPID; }
in_flight() { grep -q ":$(printf %04X "$port") .* 01 " /proc/net/tcp; }
seconds() { date +%s.%N; }
since() { python3 -c "print(f'{$(seconds) - $1:.1f}')"; }
between() { python3 -c "print('yes' if $2 <= $1 <= $3 else 'no, $1')"; }

# Restarts the service under load and prints what its clients saw.
restarts() {
    mkfifo "$WORK/stop"
    "$BIN/witness" "127.0.0.1:$port" <"$WORK/stop" >"$WORK/witness" &
    local witness=$! count=${RESTARTS:-20} began
    exec 9>"$WORK/stop"
    sleep 0.5
    began=$(seconds)
    for _ in $(seq "$count"); do
        ctl restart example.service
        sleep 0.2
    done
    echo "  $count restarts in $(since "$began") s"
    sleep 1
    exec 9>&-
    wait "$witness" || true
    rm "$WORK/stop"
    echo "  $(cat "$WORK/witness")"
    expect "failed requests" "$(sed -n 's/.* failed \([0-9]*\) .*/\1/p' "$WORK/witness")" 0
    expect "the service" "$(show example.service ActiveState)" active
    expect "restarts that systemd had to make itself" "$(show example.service NRestarts)" 0
}

activation() {
    service
    ctl start example.socket
    expect "before the first connection" "$(show example.service ActiveState)" inactive
    expect "the first request" "$(get /)" 200
    expect "after it" "$(show example.service ActiveState)" active
    restarts
    ctl stop example.socket example.service
    expect "the stop" "$(result)" "success 0"
    # The program that users copy.
    service ExecStart= "ExecStart=$BIN/examples/systemd"
    ctl start example.socket
    expect "the example's first request" "$(get /)" 200
    ctl stop example.socket example.service
    expect "the example's stop" "$(result)" "success 0"
}

stored() {
    service "Environment=ADDR=127.0.0.1:$port STORE_LISTENER=1"
    ctl start example.service
    expect "stored listeners" "$(show example.service NFileDescriptorStore)" 1
    restarts
    expect "stored listeners at the end" "$(show example.service NFileDescriptorStore)" 1
    ctl stop example.service
    expect "the stop" "$(result)" "success 0"
}

# Stops the service with a request of 6 s in flight: prints the answer's status, how the unit ended,
# and how long that took.
stop_with_a_long_request() {
    ctl start example.service
    get /sleep/6000 >"$WORK/answer" &
    local request=$! began
    until_true in_flight
    began=$(seconds)
    ctl stop example.service
    took=$(since "$began")
    wait "$request" || true
}

timeouts() {
    service "Environment=ADDR=127.0.0.1:$port" TimeoutStopSec=2 WatchdogSec=0
    stop_with_a_long_request
    expect "TimeoutStopSec=2, a request of 6 s: the answer" "$(cat "$WORK/answer")" 200
    expect "the unit" "$(result)" "success 0"
    expect "it took about 6 s" "$(between "$took" 4.5 7.5)" yes

    # The same without a word to systemd: this test could fail.
    service "Environment=ADDR=127.0.0.1:$port" TimeoutStopSec=2 WatchdogSec=0 \
        Type=exec NotifyAccess=none FileDescriptorStoreMax=0
    stop_with_a_long_request
    expect "without a request to wait: the unit" "$(result)" "timeout KILL"
    expect "it took about 2 s" "$(between "$took" 1.5 4)" yes
    ctl reset-failed
}

by-hand() {
    service "Environment=ADDR=127.0.0.1:$port" TimeoutStopSec=2 WatchdogSec=0
    ctl start example.service
    get /sleep/6000 >"$WORK/answer" &
    local request=$!
    until_true in_flight
    expect "the drain begins by hand" "$(get /begin)" 200
    until_true is_busy
    expect "systemd knows" "$(show example.service ActiveState)" deactivating
    # An operator who stops it now must not make it any shorter.
    sleep 1
    ctl stop example.service
    wait "$request" || true
    expect "the answer" "$(cat "$WORK/answer")" 200
    expect "the unit" "$(result)" "success 0"
}

warm-up() {
    service "Environment=ADDR=127.0.0.1:$port WARM_UP_MS=2000"
    local began took
    began=$(seconds)
    ctl start --no-block example.service
    until_true is_warming_up
    expect "cold" "$(show example.service ActiveState)" activating
    ctl start example.service
    took=$(since "$began")
    expect "warm" "$(show example.service ActiveState)" active
    expect "it took 2 s or more" "$(between "$took" 2 6)" yes
    ctl stop example.service
    expect "the unit" "$(result)" "success 0"
}

is_warming_up() { [[ $(show example.service StatusText) == "not ready: warming up" ]]; }
is_restarted() { [[ $(show example.service NRestarts) == 1 && $(show example.service ActiveState) == active ]]; }

watchdog() {
    service "Environment=ADDR=127.0.0.1:$port" WatchdogSec=1 TimeoutAbortSec=1 Restart=always RestartSec=0
    ctl start example.service
    sleep 4
    expect "idle for 4 s with WatchdogSec=1: restarts" "$(show example.service NRestarts)" 0
    local before
    before=$(pid)
    kill -STOP "$before"
    until_true is_restarted
    expect "stuck: restarts" "$(show example.service NRestarts)" 1
    expect "another process runs" "$(until_true is_restarted && [[ $(pid) != "$before" ]] && echo yes)" yes
    expect "a request" "$(get /)" 200
    stop_with_a_long_request
    expect "a request of 6 s while it drains" "$(cat "$WORK/answer")" 200
    expect "the unit" "$(result)" "success 0"

    service "Environment=ADDR=127.0.0.1:$port" WatchdogSec=1 TimeoutAbortSec=1 Restart=always RestartSec=0 \
        "ExecStart=" "ExecStart=$BIN/local"
    ctl start example.service
    before=$(pid)
    get /block/60000 >"$WORK/answer" &
    local blocked=$!
    until_true is_restarted
    expect "a blocked executor: restarts" "$(show example.service NRestarts)" 1
    expect "another process runs" "$(until_true is_restarted && [[ $(pid) != "$before" ]] && echo yes)" yes
    wait "$blocked" || true
    expect "a request" "$(get /)" 200
    ctl stop example.service
    expect "the unit" "$(result)" "success 0"
}

status() {
    local env="Environment=ADDR=127.0.0.1:$port GRACE_MS=1000 ABANDONED_STATUS=75"
    service "$env"
    stop_with_a_long_request
    expect "work was abandoned, with SuccessExitStatus=75" "$(result)" "success 75"
    expect "the unit" "$(show example.service ActiveState)" inactive
    service "$env" SuccessExitStatus=
    stop_with_a_long_request
    expect "without it" "$(result)" "exit-code 75"
    expect "the unit" "$(show example.service ActiveState)" failed
    ctl reset-failed
}

gone() {
    service "Environment=ADDR=127.0.0.1:$port" Type=exec \
        "ExecStart=" "ExecStart=/usr/bin/env NOTIFY_SOCKET=/run/nonexistent $BIN/hyper"
    ctl start example.service
    until_true [ "$(get /)" = 200 ] || true
    expect "a request" "$(get /)" 200
    ctl stop example.service
    expect "the unit" "$(result)" "success 0"
}

echo "$("$manager" --version | head -1)"
for part in "${@:-${parts[@]}}"; do
    echo "$part"
    "$part"
done
ctl stop example.socket example.service 2>/dev/null || true
if ((failed > 0)); then tail -n 20 "$WORK/stderr" "$WORK/manager" || true; fi
echo "$passed passed, $failed failed"
((failed == 0))
