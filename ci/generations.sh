#!/usr/bin/env bash
# Restarts that no client may notice, of each kind that docs/guide/hand-over.md
# describes but socket activation (ci/systemd.sh): one generation of a server after the other takes
# over, under load from clients that count and from wrk. Nothing may be lost or refused, and no
# connect may take a second. 20 generations, or as many as the first argument says. PROFILE=dev
# takes what `cargo test` has built.
set -euo pipefail
cd "$(dirname "$0")/.."

[[ $(uname) == Linux ]] || {
    echo "SKIPPED ci/generations.sh: it is for Linux"
    exit 0
}
wrk=()
if command -v wrk >/dev/null || apt-get install --quiet=2 wrk >/dev/null 2>&1; then
    wrk=(wrk)
else
    echo "SKIPPED the second witness: wrk can't be installed"
fi
profile=${PROFILE:-release}
cargo build --quiet --profile "$profile" --package testkit --bin hyper --bin generations
cargo build --quiet --profile "$profile" --example supervisor --example reload
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
bin=$target/${profile/#dev/debug}
"$bin/generations" "${1:-20}" "$bin" "${wrk[@]}"
