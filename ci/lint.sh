#!/usr/bin/env bash
# Format, clippy and documentation, with warnings denied.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo fmt --all --check
cargo clippy --workspace --all-targets --all-features -- -D warnings -D clippy::incompatible_msrv
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --all-features --no-deps
