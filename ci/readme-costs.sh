#!/usr/bin/env bash
# Puts docs/charts/table.md into the README, between its markers. With --check it only says whether it is there.
set -euo pipefail
cd "$(dirname "$0")/.."

fresh=$(mktemp)
trap 'rm -f "$fresh"' EXIT
awk -v table=docs/charts/table.md '
    /^<!-- costs, by ci\/bench.sh -->$/ { while ((getline line < table) > 0) print line; skip = 1 }
    !skip
    /^<!-- end of costs -->$/ { skip = 0; found = 1 }
    END { if (!found) exit 3 }
' README.md >"$fresh" || {
    echo 'FAILED: README.md has no markers for the costs' >&2
    exit 1
}
if [ "${1:-}" = --check ]; then
    cmp -s "$fresh" README.md || {
        echo 'FAILED: the costs in README.md are not those of docs/charts/table.md: run ci/readme-costs.sh' >&2
        exit 1
    }
else
    cat "$fresh" >README.md
fi
