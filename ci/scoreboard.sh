#!/usr/bin/env bash
# The loss meter against our server and its peers, all in one run: writes docs/scoreboard.md, its
# chart and the table of README.md. Installs what Debian and PyPI have of them, and builds the rest.
# A server that can't be had is in the table as not run, and makes this fail. Ten minutes, and a
# quarter of an hour before to build everything on a busy machine.
#
#   ci/scoreboard.sh                        all
#   ci/scoreboard.sh go nginx -- storm      these servers, these scenarios; docs/ stays as it is
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
if ! type nginx haproxy >/dev/null 2>&1 && command -v apt-get >/dev/null; then
    { apt-get update -qq && apt-get install -qq --no-install-recommends nginx-light haproxy; } >/dev/null 2>&1 || true
fi
venv=$target/peers
if ! cmp -s peers/requirements.txt "$venv/requirements.txt"; then
    python3 -m venv "$venv" &&
        "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement peers/requirements.txt &&
        cp peers/requirements.txt "$venv/" || echo 'what PyPI has of the peers is not installed'
fi
# wanted NAMES NAME: by what stands before `--`, or all if nothing does.
wanted() {
    local names=" $1"
    names=${names%% -- *}
    [[ -z ${names// } || "$names " == *" $2 "* ]]
}
# build BINARY ARGUMENTS...: what an earlier run has built is not what this one would measure.
build() {
    CARGO_TARGET_DIR=$target cargo build --quiet --release --bin "$@" || {
        echo "$1 can't be built"
        rm -f "$target/release/$1"
    }
}
build hyper
build loss
for peer in hyper axum actix; do
    if wanted "$*" "$peer"; then build "peer-$peer" --locked --manifest-path "peers/$peer/Cargo.toml"; fi
done
if wanted "$*" trillium; then
    build native --locked --manifest-path integrations/trillium/Cargo.toml
fi
if wanted "$*" go; then
    "$venv/bin/go" build -o "$venv/bin/peer-go" peers/main.go || rm -f "$venv/bin/peer-go"
fi
TARGET=$target exec ci/scoreboard.py "$@"
