#!/bin/sh
# clang-tidy and cppcheck over src/. BUILD holds compile_commands.json.
#
#     tests/lint.sh BUILD
#
# Prints 'ok' or 'not ok' for each tool and counts at the end, as tests/run.py does.
cd "$(dirname "$0")/.." || exit 1
build=${1:-build}
failed=0
passed=0

check() {
    name=$1
    shift
    if ! command -v "$name" >/dev/null; then
        echo "not ok $name: not installed"
        failed=$((failed + 1))
    elif "$@"; then
        echo "ok $name"
        passed=$((passed + 1))
    else
        echo "not ok $name"
        failed=$((failed + 1))
    fi
}

# Without the tests' library of short chains: the same files but for one constant.
once="import json, os
commands = json.load(open('$build/compile_commands.json'))
os.makedirs('$build/lint', exist_ok=True)
json.dump([c for c in commands if '/accrue_chain16.dir/' not in c['command']],
          open('$build/lint/compile_commands.json', 'w'))"

tidy() {
    python3 -c "$once" || return 1
    find src -name '*.c' | sort | xargs -P 2 -n 1 clang-tidy -p "$build/lint" --quiet 2>/dev/null
}

cpp() {
    cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,performance,portability --inline-suppr \
        --suppress=missingIncludeSystem --suppressions-list=tests/lint_cppcheck.txt -j 2 -Isrc -Iinclude \
        -D__x86_64__ -D__GNUC__ -DACR_ISA=avx2 -DACR_ISA_AVX2 src
}

check clang-tidy tidy
check cppcheck cpp
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" = 0 ]
