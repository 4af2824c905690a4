#!/usr/bin/env bash
# Compiles every kernels/*.cu with nvcc for sm_80 and sm_90 and holds its register report against
# kernels/gpu_resources.txt: a kernel that spills, takes more registers than recorded or is not in the table is a fault.
# --update writes the table anew. Registers are a matter of nvcc's release: under another one only spills are faults.
set -euo pipefail
cd "$(dirname "$0")/.."
table=kernels/gpu_resources.txt
nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
if [ ! -x "$nvcc" ]; then
  echo "check_gpu_resources: skipped, no nvcc"
  exit 0
fi
release=$("$nvcc" --version | sed -nE 's/.*release ([0-9.]+),.*/\1/p')
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

compile() { # NVCC OUT FILE
  local stem
  stem=$(basename "$3" .cu)
  "$1" -std=c++20 -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=sm_90 --Werror=all-warnings \
    -Xcompiler=-Wall,-Wextra -Xptxas -v -I. -c "$3" -o "$2/$stem.o" >"$2/$stem.log" 2>&1 && return
  cat "$2/$stem.log" >&2
  echo "check_gpu_resources: nvcc refuses $3" >&2
  return 1
}
export -f compile
git ls-files 'kernels/*.cu' | xargs -P "$(nproc)" -I{} bash -c 'compile "$@"' _ "$nvcc" "$out" {}

# The enumerators of a table of kernels/elementwise.h as "(juxta::TYPE)NUMBER NAME" lines.
ops() { # TYPE FIRST_LINE
  sed -n "/^#define $2/,/^\$/p" kernels/elementwise.h | sed -nE 's/^ *ROW\(([a-z0-9_]+),.*/\1/p' |
    awk -v type="$1" '{ print "(juxta::" type ")" NR - 1, $1 }'
}
{ ops Unary JX_UNARY_OPS && ops Binary JX_BINARY_OPS; } >"$out/ops.txt"

# One line a kernel: its name as in the source, sm_80 and sm_90: registers and, after a +, spilled bytes.
cat "$out"/*.log | c++filt | awk -v ops="$out/ops.txt" '
  BEGIN { while ((getline line <ops) > 0) { split(line, f, " "); op[f[1]] = f[2] } }
  /Compiling entry function/ {
    name = arch = $0
    sub(/.*entry function ./, "", name); sub(/^void /, "", name)
    if (match(name, /\(juxta::(Unary|Binary)\)[0-9]+/))
      name = substr(name, 1, RSTART - 1) op[substr(name, RSTART, RLENGTH)] substr(name, RSTART + RLENGTH)
    gsub(/juxta::cuda::|\(anonymous namespace\)::/, "", name); sub(/\(juxta::.*/, "", name)
    gsub(/juxta::| /, "", name)
    sub(/.* for ./, "", arch); sub(/.$/, "", arch)
  }
  /spill stores/ { match($0, /[0-9]+ bytes spill stores/); spilled = substr($0, RSTART) + 0 }
  /Used [0-9]+ registers/ {
    match($0, /Used [0-9]+/)
    used[name, arch] = substr($0, RSTART + 5, RLENGTH - 5) (spilled ? "+" spilled : "")
    names[name] = 1
  }
  END { for (n in names) print n, used[n, "sm_80"], used[n, "sm_90"] }' | LC_ALL=C sort >"$out/now.txt"

if [ "${1:-}" = --update ]; then
  {
    echo "# Registers per thread of every CUDA kernel, for sm_80 and sm_90, and +bytes where it spills."
    echo "# Written by tools/check_gpu_resources.sh --update; the same script without it checks."
    echo "# nvcc $release"
    cat "$out/now.txt"
  } >"$table"
  echo "check_gpu_resources: wrote $table, $(wc -l <"$out/now.txt") kernels"
  exit 0
fi

same_release=$([ "$release" = "$(sed -nE 's/^# nvcc //p' "$table")" ] && echo 1 || echo 0)
[ "$same_release" = 1 ] || echo "check_gpu_resources: $table is not of nvcc $release; checking spills only"
status=0
awk -v same="$same_release" '
  function fault(text) { print "check_gpu_resources: " text; faults = 1 }
  /^#/ { next }
  FILENAME == ARGV[1] { a[$1] = $2; b[$1] = $3; next }
  {
    seen[$1] = 1
    if ($2 ~ /\+/ || $3 ~ /\+/) fault($1 " spills registers (sm_80 " $2 ", sm_90 " $3 ": registers + bytes)")
    if (!same) next
    if (!($1 in a)) { fault($1 " is not in the table"); next }
    if ($2 + 0 > a[$1] + 0 || $3 + 0 > b[$1] + 0)
      fault($1 " takes " $2 " (sm_80) and " $3 " (sm_90) registers; recorded are " a[$1] " and " b[$1])
  }
  END {
    if (same) for (n in a) if (!(n in seen)) fault(n " is in the table but in no .cu file")
    exit faults
  }' "$table" "$out/now.txt" || status=1
if [ "$status" -ne 0 ]; then
  echo "check_gpu_resources: where the change is meant, record it: tools/check_gpu_resources.sh --update" >&2
  exit 1
fi
echo "check_gpu_resources: clean, $(wc -l <"$out/now.txt") kernels"
