#!/usr/bin/env bash
# Instructions per operation and per request, which noise does not move, held to the limits below.
# The limit of an operation is what was measured plus about a tenth, by which another compiler may
# differ; that of a request is 2 % more than what was measured. Raise one only with a reason in the
# commit.
set -euo pipefail
cd "$(dirname "$0")/../benches"

limits='
guard_and_drop       38
clone_and_drop       14
tracked_and_drop     222
is_draining          8
guard_is_draining    12
first_poll_and_drop  275
re_poll              20
'
children='
child_and_drop         1100
child_guard_and_drop   1640
guard_of_child_and_drop 112
'
# Of a server in memory, with all of hyper and of the adapter.
requests='
http1_get            7470
http1_post           11980
http2_get            29080
http2_post           34440
'
times=1000 # as in benches/examples/{instructions,children,requests}.rs

if ! command -v valgrind >/dev/null; then
    echo 'SKIPPED: instruction counts: no valgrind (apt-get install valgrind)' >&2
    exit 0
fi

nice cargo build --quiet --release --no-default-features --example instructions --example children
nice cargo build --quiet --release --no-default-features --features hyper --example requests
[ -z "${BUILD_ONLY:-}" ] || exit 0
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
status=0
while read -r example operation limit; do
    [ -n "$limit" ] || continue
    log=$(valgrind --tool=callgrind --callgrind-out-file=/dev/null \
        --toggle-collect="$example::$operation" "$target/release/examples/$example" 2>&1)
    total=$(sed -n 's/.*Collected : \([0-9]*\).*/\1/p' <<<"$log")
    if [ -z "$total" ] || [ "$total" -eq 0 ]; then
        echo "FAILED: $operation: nothing was counted" >&2
        status=1
        continue
    fi
    each=$((total / times))
    verdict=ok
    if [ "$each" -gt "$limit" ]; then
        verdict='FAILED: more than its limit'
        status=1
    fi
    printf '%-24s %5d instructions (limit %d) %s\n' "$operation" "$each" "$limit" "$verdict"
    if [ -n "${FIGURES:-}" ]; then
        printf '{"bench":"instructions","unit":"instructions","case":"%s","who":"async-drain","value":%d}\n' \
            "$operation" "$each" >>"$FIGURES"
    fi
done < <(sed 's/^./instructions &/' <<<"$limits"; sed 's/^./children &/' <<<"$children"
    sed 's/^./requests &/' <<<"$requests")
exit $status
