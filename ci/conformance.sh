#!/bin/sh
# Drives every HTTP server through the promises that can be seen from outside, and writes the table that comes
# of it to docs/conformance.md, and into the README. Servers with a lock of their own are built where they are.
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

# From the first row of the table on: the README says the rest in its own words.
readme=$(mktemp)
{
    sed '/<!-- conformance, by ci\/conformance.sh -->/q' README.md
    echo
    sed -n '/^| promise/,$p' docs/conformance.md
    echo
    sed -n '/<!-- end of conformance -->/,$p' README.md
} >"$readme"
cat "$readme" >README.md
rm "$readme"
