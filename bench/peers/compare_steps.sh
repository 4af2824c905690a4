#!/usr/bin/env bash
# Training steps here and in PyTorch, one after the other on this machine:  compare_steps.sh [WORKLOAD …]
# PYTHON names an interpreter with torch (default python3). Prints samples per second and the ratio.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
[ $# -gt 0 ] || set -- resnet20_b256 resnet18_b64 vit_tiny_b64 bert_mini_b64
for workload in "$@"; do
  for dtype in f32 bf16; do
    ours=$(build/release/bin/step_bench --benchmark_filter="step/$workload/$dtype" --benchmark_min_time=3 \
      --benchmark_format=json 2>/dev/null | "$python" -c \
      'import json,sys; print(json.load(sys.stdin)["benchmarks"][0]["items_per_second"])')
    peer=$("$python" bench/peers/torch_step.py "$workload" --dtype "$dtype" --best 2>/dev/null)
    "$python" - "$workload" "$dtype" "$ours" "$peer" <<'PY'
import json, sys
name, dtype, ours, peer = sys.argv[1:4] + [json.loads(sys.argv[4])]
ratio = float(ours) / peer["median"]
print(f"{name:16} {dtype:5} juxta {float(ours):9.1f}  torch {peer['median']:9.1f} ({peer['mode']})  ratio {ratio:.2f}")
PY
  done
done
