#!/usr/bin/env bash
# What the compiler says about wrong arguments: each program in tests/misuse must fail to compile.
# The first error must have at most 80 lines and contain each phrase of the program's `//~` lines.
# With a name: only the programs whose names contain it, with their whole output.
#
# The messages are those of rustc 1.95; with another compiler this skips.
set -euo pipefail
cd "$(dirname "$0")/.."
only=${1:-}
most_lines=80

if ! rustc --version | grep -q '^rustc 1\.95\.'; then
    echo "SKIPPED: messages about wrong arguments ($(rustc --version), not 1.95)"
    exit 0
fi
root=$PWD
package=${CARGO_TARGET_DIR:-$PWD/target}/misuse
mkdir -p "$package"
cp Cargo.lock "$package/"
{
    cat <<TOML
[package]
name = "misuse"
version = "0.0.0"
edition = "2024"

[workspace]

[dependencies]
async-drain = { path = "$root", features = ["hyper", "signal", "tower"] }
axum = { version = "0.8", default-features = false }
hyper = { version = "1.12", features = ["server", "http1"] }
smol = "2"
TOML
    for program in tests/misuse/*.rs; do
        printf '\n[[bin]]\nname = "%s"\npath = "%s"\n' "$(basename "$program" .rs)" "$root/$program"
    done
} >"$package/Cargo.toml"

bad=0
for program in tests/misuse/*"$only"*.rs; do
    name=$(basename "$program" .rs)
    log=$package/$name.log
    if cargo check --quiet --manifest-path "$package/Cargo.toml" --target-dir "$package/target" \
        --bin "$name" >"$log" 2>&1; then
        echo "$program: it compiles"
        bad=1
        continue
    fi
    [[ -z $only ]] || cat "$log"
    sed -n '/^error/,$p' "$log" | sed '2,${/^error/,$d}' >"$log.first"
    # On one line, since rustc may wrap a phrase.
    said=$(tr -s ' \n|' ' ' <"$log.first")
    while read -r phrase; do
        if [[ $said != *"$phrase"* ]]; then
            echo "$program: the compiler does not say: $phrase"
            bad=1
        fi
    done < <(sed -n 's|^//~ ||p' "$program")
    lines=$(wc -l <"$log.first")
    if ((lines > most_lines)); then
        echo "$program: $lines lines, more than $most_lines"
        bad=1
    fi
done
exit $bad
