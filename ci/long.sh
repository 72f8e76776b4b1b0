#!/usr/bin/env bash
# What does not fit into the gate: hours rather than minutes, to be run before an issue is closed.
# Each is a script that can be run alone. Ends with a line that counts.
set -uo pipefail
cd "$(dirname "$0")/.."

passed=0
failed=0
check() {
    local began=$SECONDS
    echo "== $*"
    if "$@"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "== FAILED: $*"
    fi
    echo "== $((SECONDS - began)) s"
}

check env PROPTEST_CASES=100000 cargo test --release --test core statemachine
check env LOOM_ALL=1 ci/loom.sh
check ci/fuzz.sh 60
check ci/shuttle.sh
check ci/broken.sh
check ci/server-broken.sh
check ci/integrations-broken.sh
check ci/mutants.sh
check ci/coverage.sh
check ci/tsan.sh
check ci/asan.sh
check ci/valgrind.sh
check ci/cross.sh
check ci/windows.sh
check ci/loss.sh long
check ci/storm.sh
check ci/generations.sh
check env ROUNDS=30 ci/proxies.sh
check ci/podman.sh
check env DRAINS=1000 cargo test --release --test leaks
check env ROUNDS=50 cargo test --test examples sqlite
check ci/scoreboard.sh
check ci/tide.sh
check ci/msrv.sh tide
check ci/features.sh
check ci/integrations.sh
check ci/trillium.sh
check ci/conformance.sh
check ci/systemd.sh
check ci/bench.sh

echo "$passed passed, $failed failed"
((failed == 0))
