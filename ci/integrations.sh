#!/bin/sh
# Runs the tests of what has locks of its own under integrations/: gRPC, HTTP/3, the executors of
# async-std and tokio, programs with an accept loop of their own, and one that was written against
# the guides alone. The loss meter counts what the accept loops lose. ci/trillium.sh runs the tests
# of trillium.
set -eu
cd "$(dirname "$0")/../integrations"
cargo test --locked --workspace "$@"

cargo build --locked --package async-drain-runtimes
programs=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug
cd ..
cargo build --quiet --bin loss
meter=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/debug/loss
for program in on-tokio on-async-std on-smol-hyper on-compio; do
    echo "== $program"
    "$meter" --scenario keepalive-5 --scenario storm --scenario queued --scenario silent --scenario half-head \
        -- "$programs/$program"
done
