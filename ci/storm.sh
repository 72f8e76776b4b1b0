#!/usr/bin/env bash
# Starts, loads, disturbs and stops servers for a number of seconds (600); they must keep their
# promises. It prints its seed; `ci/storm.sh 0 --seed N --rounds 1 --verbose`
# plays a round of that seed again. PROFILE=dev takes what `cargo test` has built.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-600}
shift || true
if ! command -v strace >/dev/null && command -v apt-get >/dev/null; then
    apt-get install -y --no-install-recommends strace >/dev/null 2>&1 || true # or it says what it skips
fi
profile=${PROFILE:-release}
cargo build --quiet --profile "$profile" --bin hyper --bin local --bin storm
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
"$target/${profile/#dev/debug}/storm" --seconds "$seconds" "$@"
