#!/usr/bin/env bash
# Every feature and every pair of features builds; with a number, every set of up to so many.
# ci/lint.sh builds all of them together.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cargo hack --version >/dev/null 2>&1; then
    cargo install --locked --quiet cargo-hack@0.6.45
fi
RUSTFLAGS="-D warnings" CARGO_TARGET_DIR=target/features \
    cargo hack check --package async-drain --feature-powerset --depth "${1:-2}" --no-dev-deps \
    --exclude-features default
