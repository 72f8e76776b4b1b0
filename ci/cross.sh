#!/bin/sh
# Type-checks the features on other systems: all of them on Windows, Apple's, FreeBSD and Android,
# and the core alone for WebAssembly, which has no sockets. Nothing is run: see ci/windows.sh for
# that.
#
# It needs std built for each system. Where std's sources are missing, it says so and skips.
set -eu
cd "$(dirname "$0")/.."
skip() { echo "SKIPPED: other systems ($*)"; exit 0; }
. ci/rust-deb.sh

export RUSTC="$rustc" RUSTC_BOOTSTRAP=1 RUSTFLAGS="-D warnings" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target/cross}"
"$cargo" check -Zbuild-std --package async-drain --lib --all-features --keep-going \
    --target x86_64-pc-windows-msvc --target aarch64-apple-darwin --target x86_64-unknown-freebsd \
    --target aarch64-linux-android
"$cargo" check -Zbuild-std=std,panic_abort --package async-drain --lib --no-default-features \
    --target wasm32-unknown-unknown
