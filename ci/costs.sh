#!/usr/bin/env bash
# The costs that noise doesn't change: allocations per guard and waiter, and instructions per
# operation. BUILD_ONLY=1 builds what they run, and no more.
set -euo pipefail
cd "$(dirname "$0")/.."

nice cargo test --quiet --manifest-path benches/Cargo.toml --no-default-features --test allocations \
    ${BUILD_ONLY:+--no-run}
ci/instructions.sh
