#!/bin/sh
# The loom models of the core (src/drain/models/loom.rs). With a name: only the models whose names
# contain it. LOOM_ALL=1 adds the one that takes minutes.
#
# The bound: three preemptions find all that ci/broken.sh breaks, and two miss the orderings of
# `last_shard`. The long run is LOOM_MAX_PREEMPTIONS=5, above ten minutes.
set -eu
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target/loom}" RUSTFLAGS="--cfg loom"
export LOOM_MAX_PREEMPTIONS="${LOOM_MAX_PREEMPTIONS:-3}"
exec cargo test --package async-drain --release --lib --no-default-features -- ${LOOM_ALL:+--include-ignored} --nocapture models::loom::"${1:-}"
