#!/usr/bin/env bash
# Checks what no compiler checks: the order of includes between rooms, complete stems, sizes of files, formatting facts.
# Prints one line per fault and exits with status 1 if there is any.
set -euo pipefail
cd "$(dirname "$0")/.."
faults=0
fault() { echo "check_tree: $*"; faults=1; }

# Rooms in order: each may include itself and those before it. tests and bench may include all; nobody includes them.
rooms=(tensor kernels autograd nn ssl tools)
allowed=""
for room in "${rooms[@]}"; do
  allowed="$allowed $room"
  [ -d "$room" ] || continue
  while IFS=: read -r file line text; do
    target=$(sed -E 's/.*"([a-z_]+)\/.*/\1/' <<<"$text")
    case " $allowed " in
      *" $target "*) ;;
      *) fault "$file:$line: $room must not include $target" ;;
    esac
  done < <(grep -rnE '^#include "[a-z_]+/' "$room" --include='*.h' --include='*.cpp' --include='*.cu' || true)
done
# A loss is a pure function of Vars: ssl/losses may include ssl/params.h and autograd, not nn or the rest of ssl.
if [ -d ssl/losses ]; then
  while IFS= read -r hit; do fault "$hit: losses include only autograd and below, and ssl/params.h"; done < <(
    grep -rnE '^#include "(nn|tools|ssl/[^lp])' ssl/losses || true)
fi
# CUDA headers enter through kernels/gpu.h alone.
while IFS= read -r hit; do fault "$hit: only kernels/gpu.h includes CUDA headers"; done < <(
  git grep -nE '#include <(cuda|cublas|cudnn)' -- '*.h' '*.cpp' '*.cu' ':!kernels/gpu.h' || true)
# The family of a SIMD file: norm_batch_grad.simd.cpp is a part of norm_batch.simd.cpp, that one of norm.simd.cpp.
family() {
  local stem
  stem=$(basename "$1" .simd.cpp)
  while [[ $stem == *_* && -e kernels/${stem%_*}.simd.cpp ]]; do stem=${stem%_*}; done
  echo "$stem"
}
# SIMD files: their family's headers, the vector headers and the shared GEMM core.
while IFS=: read -r file line text; do
  stem=$(family "$file")
  own="\"kernels/(${stem}[a-z_]*|simd|simd_math|gemm_core[a-z_]*)\.h\""
  grep -qE "$own|<immintrin\.h>|<cstd[a-z]+>" <<<"$text" ||
    fault "$file:$line: a .simd.cpp includes only its family's headers, simd.h, simd_math.h and gemm_core.h"
done < <(grep -nE '^#include' kernels/*.simd.cpp /dev/null)

# A family is complete: rule, test, bench. Permitted holes: optim and augment have no rule file; .cu not yet written.
for stem in $(for simd in kernels/*.simd.cpp; do family "$simd"; done | sort -u); do
  wanted=("kernels/$stem.h" "tests/${stem}_test.cpp" "bench/${stem}_bench.cpp")
  case $stem in optim | augment) ;; *) wanted+=("autograd/$stem.cpp") ;; esac
  for f in "${wanted[@]}"; do [ -e "$f" ] || fault "family $stem lacks $f"; done
done

while IFS= read -r f; do
  lines=$(wc -l <"$f")
  [ "$lines" -le 500 ] || fault "$f has $lines lines; the limit is 500"
  case $f in *.h | *.cpp | *.cu) columns=110 ;; *) columns=120 ;; esac
  long=$(awk -v columns=$columns 'length($0) > columns { n++ } END { print n + 0 }' "$f")
  [ "$long" -eq 0 ] || fault "$f has $long lines over $columns columns"
done < <(git ls-files '*.h' '*.cpp' '*.cu' '*.sh' '*.cmake')
exit $faults
