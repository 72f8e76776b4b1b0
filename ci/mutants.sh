#!/bin/sh
# Changes one line of the core at a time, and checks that an integration test fails. Some 1,100
# mutants take hours on two cores. With files: only those.
#
# ci/mutants.txt lists the mutants that survive, and why each may. Anything else that survives fails
# the run. Orderings are beyond these tests: the models and ci/broken.sh see to them.
set -eu
cd "$(dirname "$0")/.."
if ! cargo mutants --version >/dev/null 2>&1; then
    cargo install --locked --quiet cargo-mutants@27.1.0
fi
some=$*
[ $# -gt 0 ] || set -- src/drain/*.rs src/ext/*.rs src/report/*.rs \
    src/clock/mod.rs src/clock/coarse.rs src/shutdown/finish.rs src/shutdown/timer.rs
files=$(for file in "$@"; do printf -- "--file %s " "$file"; done)
out=target/mutants
mkdir -p "$out"
# A mutant that loses a wake-up hangs; what is only there for the models is not tested here; `wide`
# and `million` take long and see nothing that the others do not. The tests are named with
# --cargo-arg, so that the others and the examples aren't built for each mutant.
# shellcheck disable=SC2086 # the files are words
cargo mutants $files --output "$out" --jobs 2 --timeout 20 --build-timeout 120 --no-shuffle --colors never \
    --exclude-re 'fmt::Debug' --exclude-re 'model::' --cargo-arg=--lib --cargo-arg=--test=core -- -- --skip wide --skip million || case $? in
    2 | 3) ;; # some survived, some hung: judged below
    *) exit 2 ;;
esac

sed 's/^\([^:]*\):[0-9]*:[0-9]*: /\1: /' "$out/mutants.out/missed.txt" | sort -u >"$out/missed"
sed -n 's/^\(src[^#]*[^# ]\) *#.*/\1/p' ci/mutants.txt | sort -u >"$out/explained"
[ -n "$some" ] || comm -13 "$out/missed" "$out/explained" | sed 's/^/explained in ci\/mutants.txt, and caught: /'
new=$(comm -23 "$out/missed" "$out/explained")
[ -z "$new" ] || { echo "survived, and nobody says why:"; echo "$new"; exit 1; }
echo "$(wc -l <"$out/mutants.out/caught.txt") caught, $(wc -l <"$out/mutants.out/timeout.txt") hung," \
    "$(wc -l <"$out/missed") survived as explained"
