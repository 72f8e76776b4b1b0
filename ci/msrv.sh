#!/bin/sh
# The oldest Rust that Cargo.toml promises builds every feature and, with the argument `tide`,
# async-drain-tide. Without that compiler it says so and skips; clippy's incompatible_msrv
# (ci/lint.sh) still looks.
set -eu
cd "$(dirname "$0")/.."
skip() { echo "SKIPPED: the MSRV ($*)"; exit 0; }
. ci/rust-msrv.sh

RUSTC=$rustc CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target/msrv}
export RUSTC CARGO_TARGET_DIR
cargo check --package async-drain --all-features --lib
[ "${1:-}" != tide ] || cargo check --manifest-path crates/async-drain-tide/Cargo.toml
