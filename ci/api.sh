#!/usr/bin/env bash
# Compares the public API with docs/public-api.txt, and its size with the contract's limits.
# `ci/api.sh --write` writes the listing anew: do it when the API is meant to change, and read the
# diff.
set -euo pipefail
cd "$(dirname "$0")/.."

listing=docs/public-api.txt
most_items=75
most_at_the_root=14

target=target/api
# The listing is made from rustdoc's JSON, which a stable compiler writes when it is told to.
RUSTC_BOOTSTRAP=1 RUSTDOCFLAGS="-Zunstable-options --output-format json" \
    cargo doc --quiet --all-features --no-deps --lib --package async-drain --target-dir "$target"
new=$target/public-api.txt
python3 ci/api.py "$target/doc/async_drain.json" >"$new"

if [[ ${1:-} == --write ]]; then
    cp "$new" "$listing"
elif ! diff -u "$listing" "$new"; then
    echo "the public API differs from $listing: if that is meant, run ci/api.sh --write" >&2
    exit 1
fi
items=$(sed -n 's/^ *\([0-9]*\) items$/\1/p' "$listing")
root=$(sed -n 's/^ *\([0-9]*\) in async_drain$/\1/p' "$listing")
echo "public API: $items items, $root at the root"
((items <= most_items && root <= most_at_the_root)) || {
    echo "more than $most_items items, or more than $most_at_the_root at the root" >&2
    exit 1
}
