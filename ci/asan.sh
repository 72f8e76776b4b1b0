#!/bin/sh
# AddressSanitizer, and LeakSanitizer at each exit: of the integration tests, and of real servers,
# whose tests' children are built with it too. The crate has no unsafe code, but those beneath it
# have; and a cycle of Arcs leaks without any.
#
# What may leak is named in ci/lsan.txt, with the reason. It needs a nightly compiler, and
# skips without one.
set -eu
cd "$(dirname "$0")/.."
host=$(rustc +nightly -vV 2>/dev/null | sed -n 's/^host: //p')
[ -n "$host" ] || { echo "SKIPPED: AddressSanitizer (no nightly compiler)"; exit 0; }

export RUSTFLAGS="-Zsanitizer=address" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target/asan}"
export LSAN_OPTIONS="suppressions=$PWD/ci/lsan.txt:print_suppressions=0" ASAN_OPTIONS=detect_leaks=1
# The allocator's own counts and what takes a million of something are for other runs.
cargo +nightly test --target "$host" --test core -- --skip alloc:: --skip wide --skip million
# And the servers that these start.
cargo +nightly test --target "$host" --test server --test adapters
