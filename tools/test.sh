#!/usr/bin/env bash
# Sets up, builds and runs every test. The last line reads: N passed, N failed, N skipped
set -euo pipefail
cd "$(dirname "$0")/.."
tools/setup.sh --test
tools/check_tree.sh
tools/check_syntax.sh
cmake --preset release
cmake --build --preset release
tools/check_objects.sh build/release
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
passed=0 failed=0 skipped=0
count() { sed -nE "s/^\[  $1 +\] ([0-9]+) tests?[.,].*/\1/p" "$log" | tail -n 1; }
for program in juxta_memory_tests juxta_tests; do
  code=0
  "build/release/bin/$program" 2>&1 | tee "$log" || code=$?
  wrong=$(count FAILED)
  if [ "$code" -ne 0 ] && [ -z "$wrong" ]; then wrong=1; fi # the program died before its summary
  right=$(count PASSED) left=$(count SKIPPED)
  passed=$((passed + ${right:-0})) failed=$((failed + ${wrong:-0})) skipped=$((skipped + ${left:-0}))
  if [ "$code" -ne 0 ]; then status=1; fi
done
echo "$passed passed, $failed failed, $skipped skipped"
exit "$status"
