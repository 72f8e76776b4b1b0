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
[ $# -gt 0 ] || set -- src/drain/*.rs src/ext/*.rs src/report/*.rs \
    src/clock/mod.rs src/clock/coarse.rs src/shutdown/finish.rs src/shutdown/timer.rs
out=$(pwd)/target/mutants
tree=$out/tree
rm -rf "$tree"
mkdir -p "$tree/testkit/src"

# The core and its tests alone, without what servers and examples depend on, so that a mutant builds
# in seconds.
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

# mutants LIMIT TESTS... [-- ARGUMENTS]: each within the limit in seconds, by these tests. What
# hangs has lost a wake-up. What is only there for the models is not tested here.
mutants() {
    local limit=$1 tests=()
    shift
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        tests+=("$1")
        shift
    done
    CARGO_INCREMENTAL=1 PROPTEST_CASES=64 RUST_TEST_THREADS=8 \
        cargo mutants "${files[@]}" --dir "$tree" --output "$out" --jobs 2 --timeout "$limit" \
        --build-timeout 120 --no-shuffle --colors never --cap-lints true --copy-target true \
        --exclude-re fmt::Debug --exclude-re model:: --cargo-arg=--lib --cargo-arg=--test=core \
        "${@:2}" -- -- "${tests[@]}" || case $? in
        2 | 3) ;; # some survived, some hung: judged below
        *) exit 2 ;;
    esac
    cp "$out"/mutants.out/{caught,timeout,missed}.txt "$out"
}
files=()
for file in "$@"; do
    files+=(--file "$file")
done

# First without the tests that take most of the time, which mostly race threads: the others wait, so
# many run at once. Then what has survived, by all of them.
mutants 10 --skip wide --skip million --skip deep --skip moves -- ${SHARD:+--shard "$SHARD"}
caught=$(cat "$out"/{caught,timeout}.txt | wc -l)
if [ -s "$out/missed.txt" ]; then
    while read -r mutant; do
        files+=(--re "^$(sed 's/[][(){}.*+?|^$\\]/\\&/g' <<<"$mutant")\$")
    done <"$out/missed.txt"
    mutants 60
    caught=$((caught + $(cat "$out"/{caught,timeout}.txt | wc -l)))
fi

explained=$(grep '^src' ci/mutants.txt)
unexplained=0
while read -r mutant; do
    name=$(sed 's/^\([^:]*\):[0-9]*:[0-9]*: /\1: /' <<<"$mutant")
    ! grep -qxF -- "$name" <<<"$explained" || continue
    unexplained=$((unexplained + 1))
    echo "survived, and nobody says why: $mutant"
done <"$out/missed.txt"
echo "$caught caught, $(wc -l <"$out/missed.txt") survived, $unexplained of them unexplained"
((unexplained == 0))
