#!/bin/sh
# Valgrind's memcheck over a real server from its start to its exit, with an answer half sent when
# SIGTERM comes: of HTTP/1, and of HTTP/2. Unlike AddressSanitizer it sees uninitialised memory.
# Without TLS, whose assembly memcheck does not follow.
set -eu
cd "$(dirname "$0")/.."
for tool in valgrind curl; do
    command -v $tool >/dev/null || apt-get install --quiet=2 $tool >/dev/null 2>&1 || {
        echo "SKIPPED: memcheck (no $tool)"
        exit 0
    }
done
cargo build --quiet --bin hyper
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
server=
work=$(mktemp -d)
trap 'kill $server 2>/dev/null || true; rm -rf "$work"' EXIT

# Waits until a file has something in it, at the longest until the server is gone.
written() {
    while [ ! -s "$1" ]; do
        kill -0 "$server" || return 1
        sleep 0.1
    done
}

# drain CURL-OPTION...
drain() {
    rm -f "$work"/*
    ADDR=127.0.0.1:0 GRACE_MS=60000 \
        valgrind --quiet --error-exitcode=9 --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite \
        "$target/debug/hyper" >"$work/stdout" 2>"$work/stderr" &
    server=$!
    written "$work/stdout" || { cat "$work/stderr"; return 1; }
    url=http://$(sed -n 's/^listening on //p' "$work/stdout")/stream/20/100
    curl --silent --no-buffer --max-time 60 "$@" "$url" --output "$work/answer" &
    curl=$!
    written "$work/answer"
    kill -TERM "$server"
    wait $curl || { echo "valgrind.sh: the answer was cut ($*)" >&2; return 1; }
    status=0
    wait "$server" || status=$?
    echo "$*: $(tail -1 "$work/stderr") (exit status $status)"
    [ $status = 0 ] || { cat "$work/stderr" >&2; return 1; }
}

drain --http1.1
drain --http2-prior-knowledge
