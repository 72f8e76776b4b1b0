#!/bin/sh
# The oldest Rust that Cargo.toml promises builds every feature: a real compiler, unpacked from
# Debian's packages beside the one in charge. Without these packages it says so and skips;
# clippy's incompatible_msrv (ci/lint.sh) still looks.
set -eu
cd "$(dirname "$0")/.."
skip() { echo "SKIPPED: the MSRV ($*)"; exit 0; }

msrv=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
cache="${XDG_CACHE_HOME:-$HOME/.cache}/rust-deb-$msrv"
root=$cache/root
if [ ! -e "$root/usr/bin/rustc" ]; then
    mkdir -p "$cache"
    command -v apt-get >/dev/null || skip "no apt-get"
    apt-get update -qq >/dev/null 2>&1 || skip "no package lists"
    version=$(apt-cache madison rustc-web 2>/dev/null | sed -n "s/.*| \($msrv\.[^ ]*\) |.*/\1/p" | head -1)
    [ -n "$version" ] || skip "no rustc-web of $msrv"
    std=libstd-rust-web-$msrv
    llvm=$(apt-cache depends "$std" 2>/dev/null | sed -n 's/.*Depends: \(libllvm[0-9]*\)$/\1/p' | head -1)
    (cd "$cache" && apt-get download -qq "rustc-web=$version" "libstd-rust-web-dev=$version" "$std=$version" ${llvm:+"$llvm"}) \
        >/dev/null 2>&1 || skip "rustc-web $version can't be downloaded"
    for deb in "$cache"/*.deb; do dpkg -x "$deb" "$root"; done
fi
rustc=$cache/rustc
printf '#!/bin/sh\nexport LD_LIBRARY_PATH=%s/usr/lib/x86_64-linux-gnu\nexec %s/usr/bin/rustc "$@"\n' "$root" "$root" >"$rustc"
chmod +x "$rustc"
"$rustc" --version 2>/dev/null || skip "rustc-web does not run: $("$rustc" --version 2>&1 | tail -1)"
RUSTC=$rustc CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target/msrv} cargo check --package async-drain --all-features --lib
