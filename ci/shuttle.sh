#!/bin/sh
# The models of many threads (src/drain/models/shuttle.rs), and loom's, under shuttle: random
# interleavings and as many of PCT. With a name: only the models whose names contain it.
#
# Shuttle knows no order but SeqCst, and so nothing of missing Acquires and Releases: those are for
# ci/loom.sh.
set -eu
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target/shuttle}" RUSTFLAGS="--cfg shuttle"
test() { cargo test --package async-drain --release --lib --no-default-features -- --nocapture "$@"; }
[ $# -eq 0 ] || { test "$1"; exit; }
SHUTTLE_ITERATIONS="${SHUTTLE_ITERATIONS:-20000}" test models::shuttle::
SHUTTLE_ITERATIONS="${SHUTTLE_ITERATIONS:-2000}" test models::loom::
