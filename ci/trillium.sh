#!/bin/sh
# Drives a real trillium server, at the newest versions that compile together. It is apart from
# `cargo test` because trillium-http 1.6.4 to 1.8.0 need a newer compiler than they declare, so a
# fresh lock would not build.
set -eu
cd "$(dirname "$0")/../integrations/trillium"
exec cargo test --locked "$@"
