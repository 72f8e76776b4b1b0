#!/bin/sh
# ThreadSanitizer over the integration tests, on real threads; it sees what loom's few threads do
# not.
#
# It needs std built with the sanitizer as well, or its reports are false. Without std's sources it
# says so and skips.
set -eu
cd "$(dirname "$0")/.."
skip() { echo "SKIPPED: ThreadSanitizer ($*)"; exit 0; }
. ci/rust-deb.sh

# Debian's build has no sanitizer runtimes; rustup's of the same LLVM will do.
runtime=$(ls "$(rustup run stable rustc --print sysroot)/lib/rustlib/$host/lib/"librustc-stable_rt.tsan.a 2>/dev/null) ||
    skip "no sanitizer runtime in the stable toolchain"
cp "$runtime" "$root/usr/lib/rustlib/$host/lib/"

# The allocator's own counts and the deep trees are for other runs: here they cost minutes.
RUSTC=$rustc RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=thread CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target/tsan} \
    "$cargo" test -Zbuild-std --target "$host" --package async-drain --test core -- --skip wide --skip deep --skip million --skip statemachine
