#!/bin/sh
# Runs under Wine: the tests inside the crate, the tests of the core, and Ctrl-C at a server with an
# answer half sent. It takes seven minutes from nothing, and 350 MB.
#
# It needs std's sources, MinGW and Wine; without them it says so and skips.
set -eu
cd "$(dirname "$0")/.."
skip() { echo "SKIPPED: Windows ($*)"; exit 0; }
. ci/rust-deb.sh
if ! { command -v x86_64-w64-mingw32-gcc && command -v wine; } >/dev/null; then
    apt-get install --quiet=2 --no-install-recommends gcc-mingw-w64-x86-64-win32 wine wine64 >/dev/null 2>&1 ||
        skip "MinGW and Wine can't be installed"
fi

target=${CARGO_TARGET_DIR:-$PWD/target/windows}
built=$target/x86_64-pc-windows-gnu/debug
on_windows() {
    command=$1
    shift
    RUSTC=$rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$target \
        "$cargo" "$command" -Zbuild-std --target x86_64-pc-windows-gnu "$@"
}
export WINEPREFIX="$target/wine" WINEDEBUG=-all
# Wine makes the last directory of these only.
mkdir -p "$WINEPREFIX"
wineboot --init >/dev/null 2>&1 || skip "Wine does not start"

# The library that std takes randomness from, which Wine 8 has not.
mkdir -p "$built/deps"
x86_64-w64-mingw32-gcc -shared -x c - -o "$built/deps/bcryptprimitives.dll" -ladvapi32 <<'END'
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T n) { return SystemFunction036(data, (ULONG)n); }
END
cp "$built/deps/bcryptprimitives.dll" "$built/"

export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER=wine
on_windows test --package async-drain --lib --test core -- --skip wide --skip million
on_windows build --package testkit --no-default-features --features hyper --bin hyper
ADDR=127.0.0.1:0 ci/ctrl-c.py "$built/hyper.exe"
