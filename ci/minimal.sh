#!/usr/bin/env bash
# The lower bounds in Cargo.toml are true: all features build with the oldest versions that they
# allow.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "SKIPPED: direct minimal versions, for want of a nightly cargo"
    exit 0
fi
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git ls-files -z Cargo.toml src crates/async-drain-os | xargs -0 cp --parents -t "$copy"
# Without the development dependencies, whose lower bounds concern nobody.
sed -i '/dev-dependencies\]$/,/^$/d; /^\[\[\(test\|example\)\]\]/,/^$/d; /^default-members/d; s/, "testkit"//' "$copy/Cargo.toml" "$copy/crates/async-drain-os/Cargo.toml"
(cd "$copy" && cargo +nightly -Zdirect-minimal-versions generate-lockfile --quiet)
CARGO_TARGET_DIR=$PWD/target/minimal cargo check --locked --manifest-path "$copy/Cargo.toml" --all-features
