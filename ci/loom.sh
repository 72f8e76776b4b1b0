#!/bin/sh
# The loom models of the core (src/models.rs). With a name: only the models whose names contain it.
#
# The bound: with three preemptions loom has found every ordering and wake-up that ci/broken.sh breaks, and all known
# races of this kind need two at most. LOOM_MAX_PREEMPTIONS=5 is the long run.
set -eu
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target/loom}" RUSTFLAGS="--cfg loom"
export LOOM_MAX_PREEMPTIONS="${LOOM_MAX_PREEMPTIONS:-3}"
exec cargo test --release --lib --no-default-features -- --nocapture models::"${1:-}"
