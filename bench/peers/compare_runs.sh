#!/usr/bin/env bash
# Whole runs here and in PyTorch, same recipe, epochs and seeds, one after the other on this machine:
#   compare_runs.sh fashion DATA [SEED …]    4 epochs, temperature 0.5, crops from half of the image
#   compare_runs.sh cifar10 DATA [SEED …]    12 epochs, temperature 0.2, crops from 0.3 of the image
# DATA is a folder that `juxta train --data` and torch_simclr.py both read. PYTHON names an interpreter with torch
# (default python3), EPOCHS another length, DTYPE f32 instead of bf16 (for machines without BF16 instructions). Prints
# the figures of each run in percent and the mean of each side, minutes of training beside.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=${PYTHON:-python3}
dtype=${DTYPE:-bf16}
which=$1 data=$2
shift 2
[ $# -gt 0 ] || set -- 0 1
case $which in
  fashion) recipe=simclr_fashion_mnist epochs=${EPOCHS:-4} temperature=0.5 crop=0.5 ;;
  cifar10) recipe=simclr_cifar10 epochs=${EPOCHS:-12} temperature=0.2 crop=0.3 ;;
  *) echo "compare_runs: unknown data set '$which'; expected fashion or cifar10" >&2; exit 2 ;;
esac
out=$(mktemp -d)
for seed in "$@"; do
  build/release/bin/juxta train "tools/recipes/$recipe.toml" --data "$data" --out "$out/run$seed" \
    --set "train.epochs=$epochs" --set "method.temperature=$temperature" --set "view.min_crop=$crop" \
    --set "train.dtype=$dtype" --set "train.seed=$seed" --set train.batch=256 --set view.size=0 --set view.eval_size=0 \
    --set method.projection_layers=2 --set method.projection_hidden=0 \
    --set method.projection_batch_norm=false >"$out/train$seed.log" # the peer's batch, view and head
  build/release/bin/juxta eval "$out/run$seed" --data "$data" --json >"$out/juxta$seed.json"
  "$python" bench/peers/torch_simclr.py "$data" --epochs "$epochs" --temperature "$temperature" --min-crop "$crop" \
    --dtype "$dtype" --seed "$seed" >"$out/torch$seed.json"
done
"$python" - "$out" "$@" <<'PY'
import json, sys
out, seeds = sys.argv[1], sys.argv[2:]
keys = ("knn_top1", "linear_top1", "linear_10_per_class")
rows = {}
for side in ("juxta", "torch"):
    for seed in seeds:
        run = json.load(open(f"{out}/{side}{seed}.json"))
        if side == "juxta":
            lines = [json.loads(line) for line in open(f"{out}/run{seed}/metrics.jsonl")]
            run["minutes"] = max(line.get("seconds", 0) for line in lines) / 60
        if seed == seeds[0]:
            for name in ("raw_pixels", "untrained"):
                print(f"{side:6} {name:12}", *(f"{k} {100 * run[name][k]:6.2f}" for k in keys))
        rows.setdefault(side, []).append([100 * run[k] for k in keys] + [run["minutes"]])
        print(f"{side:6} seed {seed:7}", *(f"{k} {v:6.2f}" for k, v in zip((*keys, "minutes"), rows[side][-1])))
for side, runs in rows.items():
    mean = [sum(column) / len(runs) for column in zip(*runs)]
    print(f"{side:6} mean        ", *(f"{k} {v:6.2f}" for k, v in zip((*keys, "minutes"), mean)))
PY
