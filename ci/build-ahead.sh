#!/bin/sh
# Builds what ci/tide.sh and ci/costs.sh need later, while a check runs that mostly waits.
set -eu
cd "$(dirname "$0")/.."

tide=crates/async-drain-tide/Cargo.toml
cargo clippy --quiet --manifest-path $tide --all-targets
cargo test --quiet --manifest-path $tide --no-run
BUILD_ONLY=1 ci/costs.sh
