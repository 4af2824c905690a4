#!/usr/bin/env bash
# Sets up, builds and runs every test. The last line reads: N passed, N failed, N skipped
set -euo pipefail
cd "$(dirname "$0")/.."
tools/setup.sh --test
tools/check_tree.sh
tools/check_syntax.sh
cmake --preset release
cmake --build --preset release
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
build/release/bin/juxta_tests 2>&1 | tee "$log" || status=$?
count() { sed -nE "s/^\[  $1 +\] ([0-9]+) tests?[.,].*/\1/p" "$log" | tail -n 1; }
passed=$(count PASSED) failed=$(count FAILED) skipped=$(count SKIPPED)
if [ -z "$passed" ]; then failed=${failed:-1}; fi # the program died before its summary
if [ "$status" -ne 0 ] && [ "${failed:-0}" -eq 0 ]; then failed=1; fi
echo "${passed:-0} passed, ${failed:-0} failed, ${skipped:-0} skipped"
exit "$status"
