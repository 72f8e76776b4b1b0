# Sourced by those that need the sources of std: finds a compiler that has them, as $rustc, and a
# cargo that builds them, as $cargo; $root is where the compiler is.
#
# rustup has no source of std here, but Debian's rustc-web has. It is unpacked in the cache, not
# installed. If it isn't available, this calls `skip WHY` of the sourcing script, which says so.
# shellcheck shell=sh

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
    # shellcheck disable=SC2086 # without llvm there must be no word
    (cd "$cache" && apt-get download -qq rustc-web libstd-rust-web-dev "libstd-rust-web-$version" rust-web-src $llvm) \
        >/dev/null 2>&1 || skip "rustc-web can't be downloaded"
    for deb in "$cache"/*.deb; do dpkg -x "$deb" "$root"; done
fi

rustc=$cache/rustc
printf '#!/bin/sh\nexport LD_LIBRARY_PATH=%s/usr/lib/x86_64-linux-gnu\nexec %s/usr/bin/rustc "$@"\n' "$root" "$root" >"$rustc"
chmod +x "$rustc"
"$rustc" --version >/dev/null 2>&1 || skip "rustc-web does not run: $("$rustc" --version 2>&1 | tail -1)"

cargo=$(rustup which --toolchain nightly cargo) || skip "no nightly cargo for -Zbuild-std"
