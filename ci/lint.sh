#!/usr/bin/env bash
# Format, clippy, documentation and spelling, with warnings denied.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo fmt --all --check
cargo clippy --workspace --all-targets --all-features -- -D warnings -D clippy::incompatible_msrv
export RUSTDOCFLAGS="-D warnings"
# Each feature alone, and none: it builds, and no link breaks to what only another feature adds.
# ci/features.sh builds sets of them.
for feature in "" async-io signal net async-net hyper tower systemd log swansong; do
    only=(--package async-drain --no-default-features --features "$feature")
    cargo clippy "${only[@]}" --lib -- -D warnings
    cargo doc "${only[@]}" --no-deps
done
cargo doc --workspace --all-features --no-deps
# As docs.rs does, with the guides as modules and the features that an item needs.
RUSTC_BOOTSTRAP=1 RUSTDOCFLAGS="--cfg docsrs -D warnings" \
    cargo doc --package async-drain --all-features --no-deps --lib

# The core doesn't depend on which features are enabled.
if grep -rn 'cfg(.*feature' src/drain; then
    echo "src/drain names a feature" >&2
    exit 1
fi

skip() {
    echo "SKIPPED: spelling ($*)"
    exit 0
}
. ci/pypi.sh
pypi typos typos 1.52.0 418fd85f7fc11dec14e5482e747f6e916af56da96207cde0cdd69540a4b389f6
git ls-files -z -- ':!*.lock' ':!*.svg' | xargs -0 typos --config .typos.toml --force-exclude --format brief
