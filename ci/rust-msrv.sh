# Sourced by those that need the oldest Rust that Cargo.toml promises: finds it as $rustc and
# $rustdoc, real compilers, unpacked from Debian's packages and not installed.
#
# If they aren't available, this calls `skip WHY` of the sourcing script, which says so.
# shellcheck shell=sh

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
for tool in rustc rustdoc; do
    printf '#!/bin/sh\nexport LD_LIBRARY_PATH=%s/usr/lib/x86_64-linux-gnu\nexec %s/usr/bin/%s "$@"\n' "$root" "$root" $tool >"$cache/$tool"
    chmod +x "$cache/$tool"
done
rustc=$cache/rustc
rustdoc=$cache/rustdoc
"$rustc" --version 2>/dev/null || skip "rustc-web does not run: $("$rustc" --version 2>&1 | tail -1)"
