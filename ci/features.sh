#!/usr/bin/env bash
# Every set of features builds.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cargo hack --version >/dev/null 2>&1; then
    cargo install --locked --quiet cargo-hack@0.6.45
fi
RUSTFLAGS="-D warnings" CARGO_TARGET_DIR=target/features \
    cargo hack check --package async-drain --feature-powerset --no-dev-deps \
    --exclude-features default
