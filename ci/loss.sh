#!/usr/bin/env bash
# The loss meter against the hyper example: no request may be lost. With `long`, at the sizes that the README quotes.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --quiet --release --example hyper --example loss
bin=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/examples
meter() { "$bin/loss" "$@" -- "$bin/hyper"; }

meter --scenario all
if [[ ${1:-} == long ]]; then
    meter --scenario storm --rounds 100
    meter --scenario queued --rounds 20
    tls=()
    for latency in 0 5 50; do
        tls+=(--scenario "tls-keepalive-$latency" --scenario "tls-h2-keepalive-$latency")
    done
    meter "${tls[@]}" --connections 480
fi
