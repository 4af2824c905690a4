#!/usr/bin/env bash
# Second compilers: clang reads every source (-fsyntax-only); nvcc, where installed, compiles every .cu
# for sm_80 and sm_90 (check_gpu_resources.sh).
set -euo pipefail
cd "$(dirname "$0")/.."
command -v clang++ >/dev/null || { echo "check_syntax: clang++ is missing (tools/setup.sh --test)" >&2; exit 2; }
common=(-std=c++20 -fsyntax-only -Wall -Wextra -Werror -Wno-unused-command-line-argument -I.
  -isystem /usr/include/eigen3
  '-DJUXTA_VERSION=""' '-DJUXTA_RECIPES=""' '-DJUXTA_TEST_DATA=""' '-DJUXTA_BINARY_DIR=""' '-DJUXTA_SOURCE_DIR=""'
  '-DJUXTA_FAKE_CUDART=""')
check() { clang++ "$@" || { echo "check_syntax: clang refuses ${*: -1}" >&2; return 1; }; }
export -f check
jobs=$(nproc)
git ls-files '*.cpp' ':!*.simd.cpp' | xargs -P "$jobs" -I{} bash -c 'check "$@"' _ "${common[@]}" {}
avx512=(-mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl)
for isa in "generic 0" "avx512bf16 3 ${avx512[*]} -mavx512bf16"; do
  read -r name level flags <<<"$isa"
  # shellcheck disable=SC2086 # the flags are words
  git ls-files '*.simd.cpp' | xargs -P "$jobs" -I{} bash -c 'check "$@"' _ "${common[@]}" -DJX_ISA="$name" \
    -DJX_LEVEL="$level" $flags {}
done
tools/check_gpu_resources.sh
echo "check_syntax: clean"
