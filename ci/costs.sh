#!/usr/bin/env bash
# The costs that noise doesn't change: allocations per guard and waiter, and instructions per
# operation.
set -euo pipefail
cd "$(dirname "$0")/.."

nice cargo test --quiet --manifest-path benches/Cargo.toml --no-default-features --test allocations
ci/instructions.sh
