#!/usr/bin/env bash
# No feature of the crate brings a runtime: no mio, and of tokio only what hyper uses of it.
set -euo pipefail
cd "$(dirname "$0")/.."

tree() { cargo tree --package async-drain --edges normal --prefix none "$@"; }

fail() {
    echo "ci/tree.sh: $*" >&2
    exit 1
}

for crate in mio async-std async-global-executor async-executor smol; do
    if tree --all-features | grep -q "^$crate v"; then
        fail "$crate is in the tree"
    fi
done
for features in "" async-io signal net systemd; do
    if tree --no-default-features --features "$features" | grep -q '^tokio'; then
        fail "tokio is in the tree of the features '$features'"
    fi
done
# The features of tokio that are on, a line each; `sync` and `io-util` have neither threads nor a
# reactor.
extra=$(tree --all-features --edges features,normal | sed -n 's/^tokio feature "\([^"]*\)".*/\1/p' |
    sort -u | grep -vxE 'sync|io-util|default|bytes' || true)
if [[ -n $extra ]]; then
    fail "features of tokio that hyper does not need:" $extra
fi
core=$(tree --no-default-features | sort -u | wc -l)
echo "the core and its dependencies: $core crates"
