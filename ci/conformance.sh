#!/bin/sh
# Checks, from outside, which promises every HTTP server keeps, and writes docs/conformance.md.
# Servers with a lock file of their own are built where they are.
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
export CARGO_TARGET_DIR="$target"

cargo build --locked --manifest-path integrations/trillium/Cargo.toml --bin trillium
cargo build --locked --manifest-path crates/async-drain-tide/Cargo.toml --example tide
servers="trillium=$target/debug/trillium tide=$target/debug/examples/tide"

mkdir -p docs
CONFORMANCE_SERVERS="$servers" CONFORMANCE_TABLE="$PWD/docs/conformance.md" \
    cargo test --locked --test conformance -- --nocapture
