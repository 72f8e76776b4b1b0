#!/usr/bin/env bash
# Packages each crate as it would be published, unpacks it outside the repository, and does there
# what its users do: builds the library and the examples, runs quickstart, and runs the tests and
# the examples of the documentation that ship. It uses the oldest Rust that Cargo.toml promises if
# that is available, and otherwise the current one. It takes ten minutes from nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR=never CARGO_INCREMENTAL=0

rows=()
failed=0
check() {
    local what=$1 began=$SECONDS result=ok
    shift
    echo "== $what"
    "$@" || { result=FAILED; failed=$((failed + 1)); }
    rows+=("$(printf '%-62s %6s %4s s' "$what" "$result" $((SECONDS - began)))")
}

# A warning is a failure, but for those that say what is meant: that nothing is uploaded, and that
# tests which need testkit don't ship.
publish() {
    local output
    output=$(cargo publish --workspace --dry-run --allow-dirty --no-verify 2>&1) || { echo "$output"; return 1; }
    ! grep '^warning' <<<"$output" | grep -v -e 'aborting upload due to dry run' -e '^warning: ignoring test'
}

# What is fetched or built stays in the repository; sources lie outside of it.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/packages

package() {
    cargo package --quiet --package async-drain-os --package async-drain --no-verify --allow-dirty &&
        (cd crates/async-drain-tide && cargo package --quiet --no-verify --allow-dirty --exclude-lockfile \
            --config "patch.crates-io.async-drain.path='../..'")
}

# Unpacks a crate, and sees that it has what its page on the registry shows.
unpack() {
    local name=$1
    tar -xzf "$CARGO_TARGET_DIR/package/$name-0"*.crate -C "$work" || return 1
    mv "$work/$name"-0* "$work/$name"
    for file in README.md LICENSE-APACHE LICENSE-MIT; do
        [[ -s $work/$name/$file ]] || { echo "$name has no $file" >&2; return 1; }
    done
    for key in authors repository homepage documentation readme keywords categories license; do
        grep -q "^$key = " "$work/$name/Cargo.toml" || { echo "$name has no $key" >&2; return 1; }
    done
    echo "$name: $(find "$work/$name" -type f | wc -l) files, $(du -sk "$work/$name" | cut -f1) KiB"
}

# Runs cargo in the unpacked package $1; what it needs of the others is unpacked beside it.
in_package() {
    local name=$1
    shift
    (cd "$work/$name" && cargo "$@" --config "patch.crates-io.async-drain-os.path='$work/async-drain-os'" \
        --config "patch.crates-io.async-drain.path='$work/async-drain'")
}

# The program of README: a request in flight is answered, and the exit status is 0.
quickstart() {
    local log=$work/quickstart pid answer status
    in_package async-drain build --quiet --features hyper,signal --example quickstart || return 1
    "$CARGO_TARGET_DIR/debug/examples/quickstart" >"$log" 2>&1 &
    pid=$!
    answer=$(
        curl --silent --retry 20 --retry-connrefused --retry-delay 1 --max-time 30 localhost:8080 &
        curl=$!
        # It answers after three seconds, so at least one of them is left.
        until grep -q listening "$log"; do sleep 0.1; done
        sleep 2
        kill -TERM "$pid"
        wait "$curl"
    )
    status=0
    wait "$pid" || status=$?
    cat "$log"
    [[ $answer == hello && $status == 0 ]] && grep -q '^drained: 1 in flight' "$log"
}

check "cargo publish --workspace --dry-run" publish
check "cargo package" package
for name in async-drain-os async-drain async-drain-tide; do
    check "$name: unpacks, and has a licence, README and links" unpack "$name"
done
# The lock that is tested: newer releases of what it needs may want a newer Rust.
cp crates/async-drain-tide/Cargo.lock "$work/async-drain-tide/"

skip() { echo "SKIPPED: the MSRV ($*)"; exit 0; }
if (. ci/rust-msrv.sh && [[ $rustc ]]) | grep -q '^rustc'; then
    . ci/rust-msrv.sh
    export RUSTC=$rustc RUSTDOC=$rustdoc
else
    echo "SKIPPED: the MSRV's compiler can't be had; this is $(rustc --version)"
fi

check "async-drain: cargo check --examples" in_package async-drain check --examples
check "async-drain: cargo check --examples --all-features" in_package async-drain check --examples --all-features
check "async-drain: cargo run --example quickstart, a request, SIGTERM" quickstart
check "async-drain: cargo test --all-features" in_package async-drain test --quiet --all-features
check "async-drain-tide: cargo test --doc" in_package async-drain-tide test --quiet --doc

printf '%s\n' "" "${rows[@]}"
echo "$((${#rows[@]} - failed)) passed, $failed failed"
((failed == 0))
