#!/bin/sh
# async-drain-tide, which is a workspace of its own: format, lints, docs, and tests over real
# sockets.
set -eu
cd "$(dirname "$0")/../crates/async-drain-tide"

cargo fmt --check
cargo clippy --all-targets -- -D warnings
cargo clippy --lib --no-default-features -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --no-deps
cargo test

# The reason why it is apart.
if grep -E '^name = "(async-std|async-h1|tide|http-types)"$' ../../Cargo.lock; then
    echo "a discontinued crate is in the lock of async-drain" >&2
    exit 1
fi
