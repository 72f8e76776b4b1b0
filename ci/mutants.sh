#!/bin/bash
# Changes one line of the core at a time, and checks that an integration test fails: some 1,100
# mutants. With files: only those. SHARD=0/4 takes the first quarter of them.
#
# ci/mutants.txt lists the mutants that survive, and why each may. Anything else that survives fails
# the run. Orderings are beyond these tests: the models and ci/broken.sh see to them.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! cargo mutants --version >/dev/null 2>&1; then
    cargo install --locked --quiet cargo-mutants@27.1.0
fi
some=$*
[ $# -gt 0 ] || set -- src/drain/*.rs src/ext/*.rs src/report/*.rs \
    src/clock/mod.rs src/clock/coarse.rs src/shutdown/finish.rs src/shutdown/timer.rs
out=$(pwd)/target/mutants
tree=$out/tree
rm -rf "$tree"
mkdir -p "$tree/testkit/src"

# The core and its tests alone, without what servers and examples depend on: it builds in a fifth of
# the time.
cp -r --parents src tests/core docs/guide crates/async-drain-os README.md CHANGELOG.md Cargo.lock \
    testkit/src/polling.rs testkit/src/program.rs "$tree"
{
    sed '/^\[workspace\]/,/^\[features\]/{/^\[features\]/!d}; /^# Not in a model/,$d' Cargo.toml
    cat <<'EOF'
[workspace]

[dev-dependencies]
testkit = { path = "testkit" }
EOF
    for crate in allocation-counter async-channel futures-lite proptest; do
        grep "^$crate = " Cargo.toml
    done
    cat <<'EOF'
[[test]]
name = "core"
path = "tests/core/main.rs"

[profile.dev]
debug = false
EOF
} >"$tree/Cargo.toml"
cat >"$tree/testkit/Cargo.toml" <<'EOF'
[package]
name = "testkit"
edition = "2024"

[dependencies]
async-drain = { path = "..", features = ["net"] }
futures-lite = "2"
EOF
printf 'pub mod polling;\npub mod program;\n' >"$tree/testkit/src/lib.rs"

# A mutant that loses a wake-up hangs. What is only there for the models is not tested here; the
# tests that are skipped take most of the time and see nothing that the others do not. The others
# mostly wait, so many run at once.
shard=${SHARD:+--shard $SHARD}
# shellcheck disable=SC2046,SC2086 # words
CARGO_INCREMENTAL=1 PROPTEST_CASES=64 RUST_TEST_THREADS=8 \
    cargo mutants $(printf -- '--file %s ' "$@") $shard --dir "$tree" --output "$out" --jobs 2 \
    --timeout 7 --build-timeout 120 --no-shuffle --colors never --cap-lints true --copy-target true \
    --exclude-re 'fmt::Debug' --exclude-re 'model::' --cargo-arg=--lib --cargo-arg=--test=core \
    -- -- --skip wide --skip million --skip deep --skip moves || case $? in
    2 | 3) ;; # some survived, some hung: judged below
    *) exit 2 ;;
esac

sed 's/^\([^:]*\):[0-9]*:[0-9]*: /\1: /' "$out/mutants.out/missed.txt" | sort -u >"$out/missed"
sed -n 's/^\(src[^#]*[^# ]\) *#.*/\1/p' ci/mutants.txt | sort -u >"$out/explained"
[ -n "$some$shard" ] || comm -13 "$out/missed" "$out/explained" | sed 's/^/explained in ci\/mutants.txt, and caught: /'
new=$(comm -23 "$out/missed" "$out/explained")
[ -z "$new" ] || { echo "survived, and nobody says why:"; echo "$new"; exit 1; }
echo "$(wc -l <"$out/mutants.out/caught.txt") caught, $(wc -l <"$out/mutants.out/timeout.txt") hung," \
    "$(wc -l <"$out/missed") survived as explained"
