#!/usr/bin/env bash
# Builds one of the HTTP servers in release mode, whichever package it belongs to, and prints its
# path and nothing else.
#
#   ci/server.sh [hyper|axum|local|tide|async_h1|trillium]
set -euo pipefail
cd "$(dirname "$0")/.."

name=${1:-hyper}
case $name in
    hyper | axum | local) package=testkit kind=--bin folder=release ;;
    tide | async_h1) package=crates/async-drain-tide kind=--example folder=release/examples ;;
    trillium) package=integrations/trillium kind=--bin folder=release ;;
    *)
        echo "there is no server '$name'; there are: hyper axum local tide async_h1 trillium" >&2
        exit 2
        ;;
esac
cargo build --quiet --release --manifest-path "$package/Cargo.toml" "$kind" "$name" >&2
target=$(cargo metadata --format-version 1 --no-deps --manifest-path "$package/Cargo.toml" |
    sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
echo "$target/$folder/$name"
