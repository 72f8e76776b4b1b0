#!/bin/sh
# Drives every HTTP server through the promises that can be seen from outside, and writes the table that comes
# of it to docs/conformance.md, and into the README. Servers with a lock of their own are built where they are.
set -eu
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}
export CARGO_TARGET_DIR="$target"

servers=""
for entry in trillium=compat/trillium tide=crates/async-drain-tide; do
    name=${entry%%=*}
    package=${entry#*=}
    if [ -e "$package/examples/$name.rs" ] || [ -e "$package/examples/$name/main.rs" ]; then
        cargo build --locked --manifest-path "$package/Cargo.toml" --example "$name"
        servers="$servers $name=$target/debug/examples/$name"
    fi
done

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
