#!/bin/sh
# Runs the tests of what has locks of its own under integrations/: gRPC, HTTP/3, and the executors
# of async-std and tokio. ci/trillium.sh runs trillium's.
set -eu
cd "$(dirname "$0")/../integrations"
exec cargo test --locked --workspace "$@"
