#!/bin/sh
# Fuzzes the core against its model and each parser of ours against a plain reading of the same
# bytes (fuzz/targets), for SECONDS each, 60 by default; with names, only those targets. What it
# finds is kept under fuzz/artifacts and printed: make a test of it.
#
# It needs a nightly toolchain, for libFuzzer's instrumentation; without one it says so and skips.
set -eu
cd "$(dirname "$0")/.."
seconds="${1:-60}"
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- operations framing connection_requests ahead

if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "SKIPPED: fuzzing (no nightly toolchain)"
    exit 0
fi
if ! cargo fuzz --version 2>/dev/null | grep -q ' 0\.13\.'; then
    cargo install --locked --quiet cargo-fuzz@0.13.2
fi

for target in "$@"; do
    echo "== $target"
    # Found inputs go into the first directory, which no commit sees; the second has the hand-made
    # ones.
    mkdir -p "fuzz/corpus/$target"
    cargo +nightly fuzz run "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        -dict=fuzz/http.dict -max_total_time="$seconds" -max_len=1024 -timeout=10 -print_final_stats=1
done
