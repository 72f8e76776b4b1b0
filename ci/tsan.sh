#!/bin/sh
# ThreadSanitizer over the integration tests, on real threads; it sees what loom's few threads do not.
#
# It wants std built with the sanitizer as well, or it only lies. rustup has no source of std here, Debian's rustc-web
# does: unpacked beside, not installed. Where that can't be had this says so and skips.
set -eu
cd "$(dirname "$0")/.."
skip() { echo "SKIPPED: ThreadSanitizer ($*)"; exit 0; }

cache="${XDG_CACHE_HOME:-$HOME/.cache}/rust-deb"
root=$cache/root
host=x86_64-unknown-linux-gnu
[ "$(uname -m)" = x86_64 ] || skip "only tried on x86_64"
if [ ! -e "$root/usr/bin/rustc" ]; then
    mkdir -p "$cache"
    command -v apt-get >/dev/null || skip "no apt-get"
    apt-get update -qq >/dev/null 2>&1 || skip "no package lists"
    version=$(apt-cache madison rustc-web 2>/dev/null | sed -n '1s/.*| \([0-9]*\.[0-9]*\)\..*/\1/p')
    llvm=$(apt-cache depends "libstd-rust-web-$version" 2>/dev/null | sed -n 's/.*Depends: \(libllvm[0-9]*\)$/\1/p')
    [ -n "$version" ] || skip "no rustc-web"
    # shellcheck disable=SC2086 # no llvm is no word
    (cd "$cache" && apt-get download -qq rustc-web libstd-rust-web-dev "libstd-rust-web-$version" rust-web-src $llvm) \
        >/dev/null 2>&1 || skip "rustc-web can't be downloaded"
    for deb in "$cache"/*.deb; do dpkg -x "$deb" "$root"; done
fi

# Debian's build has no sanitizer runtimes; rustup's of the same LLVM will do.
lib=usr/lib/rustlib/$host/lib
runtime=$(ls "$(rustup run stable rustc --print sysroot)/lib/rustlib/$host/lib/"librustc-stable_rt.tsan.a 2>/dev/null) ||
    skip "no sanitizer runtime in the stable toolchain"
cp "$runtime" "$root/$lib/"
rustc=$cache/rustc
printf '#!/bin/sh\nexport LD_LIBRARY_PATH=%s/usr/lib/x86_64-linux-gnu\nexec %s/usr/bin/rustc "$@"\n' "$root" "$root" >"$rustc"
chmod +x "$rustc"
"$rustc" --version >/dev/null 2>&1 || skip "rustc-web does not run: $("$rustc" --version 2>&1 | tail -1)"

cargo=$(rustup which --toolchain nightly cargo) || skip "no nightly cargo for -Zbuild-std"
# The allocator's own counts and the deep trees are for other runs: here they cost minutes.
RUSTC=$rustc RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=thread CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target/tsan} \
    "$cargo" test -Zbuild-std --target "$host" --test it -- --skip wide --skip deep --skip million --skip statemachine
