#!/bin/sh
# Does all that docs/invariants.md names exist: models, tests, files and functions? And the other way round.
set -eu
cd "$(dirname "$0")/.."
doc=docs/invariants.md
bad=0
complain() {
    echo "$doc: $*"
    bad=1
}

for model in $(grep -o 'model `[a-z0-9_]*`' $doc | cut -d'`' -f2 | sort -u); do
    grep -q "fn $model()" src/models.rs || complain "no model $model"
    grep -q "explore(\"$model\"\|_vs_[a-z]*(\"$model\"" src/models.rs || complain "model $model explores nothing"
done

for crowd in $(grep -o 'crowd `[a-z0-9_]*`' $doc | cut -d'`' -f2 | sort -u); do
    grep -q "fn $crowd()" src/crowds.rs || complain "no crowd $crowd"
done

for target in $(grep -o 'fuzz `[a-z0-9_]*`' $doc | cut -d'`' -f2 | sort -u); do
    [ -e "fuzz/targets/$target.rs" ] || complain "no fuzz target $target"
done

# `file::inner::name` is a function of tests/it/file.rs; proptest's have an argument list of their own.
for test in $(grep -o 'test `[a-z0-9_:]*`' $doc | cut -d'`' -f2 | sort -u); do
    file=tests/it/${test%%::*}.rs name=${test##*::}
    grep -qs "fn $name(" "$file" || complain "no test $test"
done

for test in $(grep -o 'server `[a-z0-9_:]*`' $doc | cut -d'`' -f2 | sort -u); do
    file=tests/server/${test%%::*}.rs name=${test##*::}
    grep -qs "fn $name(" "$file" || complain "no server test $test"
done

for file in $(grep -o '`[a-z./_]*\.\(rs\|sh\)`' $doc | tr -d '`' | sort -u); do
    [ -e "$file" ] || complain "no file $file"
done

for name in $(grep -o '`[A-Z][a-z]*::[a-z_]*`\|`[a-z]*_[a-z_]*`' $doc | tr -d '`' | sed 's/.*:://' | sort -u); do
    grep -rqw "$name" src || complain "nothing in src is called $name"
done

# The other way round: what is cited is promised, and each model is named.
for cited in $(grep -rohwE '[SLCZ][1-9][0-2]?' src tests testkit/src | sort -u); do
    grep -q "^### $cited " $doc || complain "$cited is cited and not promised"
done
for model in $(sed -n 's/^fn \([a-z_]*\)() {$/\1/p' src/models.rs); do
    grep -q "model \`$model\`" $doc || complain "model $model proves nothing"
done
for crowd in $(sed -n 's/^fn \([a-z_]*\)() {$/\1/p' src/crowds.rs); do
    grep -q "crowd \`$crowd\`" $doc || complain "crowd $crowd proves nothing"
done

[ $bad -eq 0 ] && echo "docs/invariants.md: all that it names exists"
