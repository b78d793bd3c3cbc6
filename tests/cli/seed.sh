#!/bin/sh
# The example in C and the one in Python print the same lines: the same losses to
# the last digit and the same hash of the weights.
set -u
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
cd "$out" || exit 1
if ! "$ACCRUE_BUILD/examples/seed" >c.txt 2>&1 || ! "${PYTHON:-python3}" "$ACCRUE_SOURCE/examples/seed.py" >py.txt 2>&1; then
    cat c.txt py.txt
    echo "not ok seed: an example failed"
    exit 1
fi
if grep -q '^weights [0-9a-f]\{32\}$' c.txt && cmp c.txt py.txt; then
    echo "ok seed"
else
    diff c.txt py.txt
    echo "not ok seed: C and Python print different lines"
    exit 1
fi
