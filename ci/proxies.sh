#!/usr/bin/env bash
# Three servers behind HAProxy and nginx are restarted in turn under load, and no request may fail.
# Two clients count failures: wrk, and one of ours that sends a POST every other time. Prints a
# table.
#
#   ROUNDS=30 ci/proxies.sh              all cases, with so many restarts each (6); 16 min
#   ci/proxies.sh nginx 'httpchk h2'     the cases whose name contains one of these
#
# Installs what it needs by apt. PORT (18080) and the three after it must be free.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${ROUNDS:-6}
port=${PORT:-18080}
export DEBIAN_FRONTEND=noninteractive
command_of() { PATH=$PATH:/usr/sbin command -v "$1"; }
missing=()
for pair in haproxy:haproxy nginx:nginx-light wrk:wrk; do
    command_of "${pair%:*}" >/dev/null || missing+=("${pair#*:}")
done
if ((${#missing[@]})); then
    { apt-get update && apt-get install -y --no-install-recommends "${missing[@]}"; } >/dev/null 2>&1 || true
fi
for tool in haproxy nginx wrk; do
    command_of "$tool" >/dev/null || { echo "SKIPPED: rolling restarts behind proxies (no $tool)"; exit 0; }
done
haproxy=$(command_of haproxy) nginx=$(command_of nginx)

server=$(ci/server.sh hyper)
cargo build --quiet --release --manifest-path testkit/Cargo.toml --bin witness
witness=$(dirname "$server")/witness

scratch=$(mktemp -d)
declare -A pids=()
proxy='' load='' until=''
clean_up() {
    kill -9 ${proxy:+"$proxy"} ${load:+"$load"} "${pids[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$scratch"
}
trap clean_up EXIT

# Starts server NUMBER, and returns once it listens.
start() {
    local line fifo=$scratch/stdout.$1
    [[ -p $fifo ]] || mkfifo "$fifo"
    (
        # Or the witness would wait for the server to close it.
        [[ ! $until ]] || exec {until}>&-
        ADDR=127.0.0.1:$((port + $1)) exec "$server" >"$fifo" 2>"$scratch/stderr.$1"
    ) &
    pids[$1]=$!
    IFS= read -r line <"$fifo" || true
    [[ $line == "listening on "* ]] || { cat "$scratch/stderr.$1" >&2; exit 2; }
}

# Stops server NUMBER as an operator does, and expects that it loses nothing.
stop() {
    local status=0
    kill -TERM "${pids[$1]}"
    wait "${pids[$1]}" || status=$?
    unset "pids[$1]"
    if ((status)); then
        echo "a server ended with status $status: $(tail -n 1 "$scratch/stderr.$1")"
        bad_ends=$((bad_ends + 1))
    fi
}

# Begins an answer of 5 s, straight from server NUMBER: the server stops when it is complete.
begin_a_stream() {
    rm -f "$scratch/stream"
    curl -sN "http://127.0.0.1:$((port + $1))/stream/11/500" >"$scratch/stream" &
    streaming=$!
    until [[ -s $scratch/stream ]]; do sleep 0.05; done
}

# Writes the configuration that users copy, with other ports and what the case wants.
configure() {
    local ports=() n
    for n in 0 1 2 3; do ports+=(-e "s/127\.0\.0\.1:808$n/127.0.0.1:$((port + n))/"); done
    sed "${ports[@]}" -e "$2" "examples/proxies/$1" >"$scratch/$1"
}

answers() { curl -s -o /dev/null -f -m 2 "http://127.0.0.1:$port/"; }
wait_for_proxy() {
    local tries=0
    until answers; do
        ((++tries < 100)) || { cat "$scratch/proxy.log" >&2; echo "the proxy does not answer" >&2; exit 2; }
        sleep 0.1
    done
}

failures=0
: >"$scratch/table"

# case NAME PROXY EDIT PAUSE REQUIRED [SETTING=VALUE]...: REQUIRED is `none failed`, `none slow`
# (and none failed either), or `nothing`. EDIT is of sed, for the proxy's configuration.
case_of() {
    local name=$1 kind=$2 edit=$3 pause=$4 required=$5
    shift 5
    if ((${#chosen[@]})); then
        local word found=
        for word in "${chosen[@]}"; do [[ $name == *"$word"* ]] && found=1; done
        [[ $found ]] || return 0
    fi
    local n round count=$rounds status=0 began=$SECONDS bad_ends=0
    local -x KEEP_ALIVE_GRACE_MS=1000 LAME_DUCK_MS=0 SLOW_STOP= "$@"
    for n in 1 2 3; do start "$n"; done
    case $kind in
        haproxy)
            configure haproxy.cfg "$edit"
            "$haproxy" -db -f "$scratch/haproxy.cfg" >"$scratch/proxy.log" 2>&1 &
            ;;
        nginx)
            configure nginx.conf "$edit"
            "$nginx" -p "$scratch" -c "$scratch/nginx.conf" -e stderr -g 'daemon off;' >"$scratch/proxy.log" 2>&1 &
            ;;
    esac
    proxy=$!
    wait_for_proxy

    mkfifo "$scratch/until"
    "$witness" "127.0.0.1:$port" <"$scratch/until" >"$scratch/witness" &
    local watching=$!
    exec {until}>"$scratch/until"
    wrk -t1 -c4 -d1h --timeout 5s "http://127.0.0.1:$port/" >"$scratch/wrk" &
    load=$!
    # A slow stop takes as long as several others, and shows as much.
    [[ ! $SLOW_STOP ]] || count=$(((rounds + 2) / 3))
    for ((round = 0; round < count; round++)); do
        n=$((round % 3 + 1))
        sleep "$pause"
        [[ ! $SLOW_STOP ]] || begin_a_stream "$n"
        stop "$n"
        [[ ! $SLOW_STOP ]] || wait "$streaming" || true
        if [[ $SLOW_STOP && $(tail -n 1 "$scratch/stream") != "chunk 10" ]]; then
            echo "a stream in flight was cut: $(tail -n 1 "$scratch/stream")"
            bad_ends=$((bad_ends + 1))
        fi
        start "$n"
    done
    sleep 1
    kill -INT "$load"
    wait "$load" || true
    load=
    exec {until}>&-
    until=
    wait "$watching" || status=$?
    rm "$scratch/until"
    kill -TERM "$proxy"
    wait "$proxy" || true
    proxy=
    for n in 1 2 3; do stop "$n"; done
    ((status < 2)) || exit 2

    # The witness: requests N posts N failed N slow N slowest S; reasons
    local seen wrk_seen
    seen=$(<"$scratch/witness")
    wrk_seen=$(awk '
        / requests in / { requests = $1 }
        /Latency/ { slowest = $4 }
        /Socket errors/ { gsub(",", ""); failed += $4 + $6 + $8 + $10 }
        /Non-2xx/ { failed += $5 }
        END { printf "%d %d %s", requests, failed, slowest }' "$scratch/wrk")
    local requests posts failed slow slowest wrk_requests wrk_failed wrk_slowest
    read -r _ requests _ posts _ failed _ slow _ slowest _ <<<"$seen"
    slowest=${slowest%;}
    read -r wrk_requests wrk_failed wrk_slowest <<<"$wrk_seen"
    printf '| %s | %d | %d of %d | %s s | %d of %d | %s |\n' "$name" "$count" "$failed" "$requests" \
        "$slowest" "$wrk_failed" "$wrk_requests" "$wrk_slowest" >>"$scratch/table"
    echo "$name: $seen; wrk: $wrk_failed of $wrk_requests failed, slowest $wrk_slowest; $((SECONDS - began)) s"
    local why=
    case $required in
        nothing) ;;
        *)
            [[ $required != "none slow" ]] || ((slow == 0)) || why="requests took over 0.5 s"
            ((posts > 0 && wrk_requests > 0)) || why="nothing was measured"
            ((bad_ends == 0)) || why="servers ended badly"
            ((failed + wrk_failed == 0)) || why="requests failed"
            ;;
    esac
    if [[ $why ]]; then
        failures=$((failures + 1))
        echo "FAILED: $name: $why"
    fi
}

chosen=("$@")
defaults='/option redispatch/d'
none="$defaults; /option httpchk/d; /default-server/d"
tcp="$defaults; /option httpchk/d; s/default-server.*/default-server check/"
h2='s/^\( *server .*\)$/\1 proto h2/'
max_fails='s/ max_fails=0//'

case_of 'HAProxy, no check h1' haproxy "$none" 0.5 'none failed'
case_of 'HAProxy, no check h2' haproxy "$none; $h2" 0.5 'none failed'
case_of 'HAProxy, TCP check h1' haproxy "$tcp" 0.5 'none failed'
case_of 'HAProxy, TCP check h2' haproxy "$tcp; $h2" 0.5 'none failed'
case_of 'HAProxy, httpchk h1' haproxy "$defaults" 1 'none failed'
case_of 'HAProxy, httpchk h2' haproxy "$defaults; $h2" 1 'none failed'
case_of 'HAProxy, httpchk h1, lame duck 1 s' haproxy '' 1 'none slow' LAME_DUCK_MS=1000
case_of 'HAProxy, httpchk h2, lame duck 1 s' haproxy "$h2" 1 'none slow' LAME_DUCK_MS=1000
case_of 'HAProxy, httpchk h1, redispatch, stops of 5 s' haproxy '' 1 'none failed' SLOW_STOP=1
# Debian 12 has nginx 1.22, which speaks no HTTP/2 to servers.
case_of 'nginx, max_fails=0 h1' nginx '' 0.5 'none failed'
case_of 'nginx, max_fails=0 h1, stops of 5 s' nginx '' 0.5 'none failed' SLOW_STOP=1
case_of 'nginx, defaults h1, restarts 11 s apart' nginx "$max_fails" 11 'none failed'
# What the guide warns of.
case_of 'HAProxy, httpchk h1, no redispatch, stops of 5 s' haproxy "$defaults" 1 nothing SLOW_STOP=1
case_of 'HAProxy, no check h1, keep-alive grace 0' haproxy "$none" 0.5 nothing KEEP_ALIVE_GRACE_MS=0
case_of 'nginx, defaults h1, restarts 0.5 s apart' nginx "$max_fails" 0.5 nothing
case_of 'nginx, max_fails=0 h1, keep-alive grace 0' nginx '' 0.5 nothing KEEP_ALIVE_GRACE_MS=0

echo
echo '| case | restarts | failed | slowest | failed (wrk) | slowest (wrk) |'
echo '|---|---|---|---|---|---|'
cat "$scratch/table"
echo
echo "$failures cases failed"
((failures == 0))
