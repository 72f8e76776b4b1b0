#!/usr/bin/env bash
# Every set of up to three features builds, without a warning; with a number, every set of up to so
# many. ci/lint.sh builds each alone, and all together.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cargo hack --version >/dev/null 2>&1; then
    cargo install --locked --quiet cargo-hack@0.6.45
fi
RUSTFLAGS="-D warnings" CARGO_TARGET_DIR=target/features \
    cargo hack check --package async-drain --feature-powerset --depth "${1:-3}" --no-dev-deps \
    --exclude-features default
