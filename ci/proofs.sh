#!/bin/sh
# Checks docs/proofs.md: its lists are those of the sources, each promise of docs/promises.md is
# proven or said to be open, and all models, tests, files and functions that it names exist.
#
#   ci/proofs.sh            the check
#   ci/proofs.sh --write    writes the lists anew: a test belongs to each promise that it cites
set -eu
cd "$(dirname "$0")/.."
python3 ci/proofs.py "$@"
