#!/bin/sh
# Builds and runs the recipes that are too large, or too doubtful, for the lock of the main package: gRPC, HTTP/3, and
# the executors async-std and tokio.
set -eu
cd "$(dirname "$0")/../recipes"
cargo build --locked --examples
exec cargo test --locked "$@"
