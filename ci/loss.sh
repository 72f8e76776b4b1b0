#!/usr/bin/env bash
# The loss meter against the server `hyper`: no request may be lost. With `long`, also longer
# storms and queues, and loads over TLS. PROFILE=dev takes what `cargo test` has built.
set -euo pipefail
cd "$(dirname "$0")/.."

profile=${PROFILE:-release}
cargo build --quiet --profile "$profile" --bin hyper --bin loss
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
bin=$target/${profile/#dev/debug}
meter() { "$bin/loss" "$@" -- "$bin/hyper"; }

meter --scenario all
if [[ ${1:-} == long ]]; then
    meter --scenario storm --rounds 100
    meter --scenario arrivals --rounds 60
    meter --scenario queued --rounds 20
    tls=()
    for latency in 0 5 50; do
        tls+=(--scenario "tls-keepalive-$latency" --scenario "tls-h2-keepalive-$latency")
    done
    meter "${tls[@]}" --connections 480
fi
