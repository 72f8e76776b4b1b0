#!/usr/bin/env bash
# The costs that noise doesn't change: allocations per guard, waiter and request, instructions per
# operation, and clock reads per request. BUILD_ONLY=1 builds what they run, and no more.
set -euo pipefail
cd "$(dirname "$0")/.."

nice cargo test --quiet --manifest-path benches/Cargo.toml --no-default-features --test allocations \
    ${BUILD_ONLY:+--no-run}
# With the release build that the instructions are counted in.
nice cargo test --quiet --release --manifest-path benches/Cargo.toml --no-default-features --features hyper \
    --test requests ${BUILD_ONLY:+--no-run}
ci/instructions.sh
