#!/usr/bin/env bash
# From a bare machine to a contrastive learner in 20 minutes: installs what is missing, builds the program, trains
# SimCLR on the 60,000 images of Fashion-MNIST, evaluates it and prints the table of scores. A machine too slow for all
# steps of the recipe trains as many as the 20 minutes allow, under a schedule of that length.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-runs/demo}
if [ -e "$out" ]; then
  echo "tools/demo.sh: $out is there already; give another folder: tools/demo.sh FOLDER" >&2
  exit 2
fi
tools/setup.sh
cmake --preset release -DJUXTA_ISAS=native >/dev/null # this machine's kernels only
cmake --build --preset release --target juxta_program
juxta=build/release/bin/juxta
trial=$(mktemp -d)
trap 'rm -rf "$trial"' EXIT
$juxta train simclr_fashion_mnist --quiet --out "$trial/run" --set train.max_steps=40 --set train.log_every=5 \
  --set train.monitor_every=0 >"$trial/log" || { cat "$trial/log"; exit 1; }
# 128 images a step, the recipe's batch; the first steps, which also warm up memory and loader, do not count.
rate=$(sed -nE 's/.*"step":([0-9]+),.*"seconds":([0-9.]+).*/\1 \2/p' "$trial/run/metrics.jsonl" |
  awk '$1 == 5 { start = $2 } END { printf "%d", 128 * ($1 - 5) / ($2 - start) }')
left=$((1200 - SECONDS)) # bash counts SECONDS from the start of this script
# Monitors, evaluation and report take about 75 s and the time of 40,000 images; 200 s of training are the least.
seconds=$((left - 75 - 40000 / rate))
if [ "$seconds" -lt 200 ]; then seconds=200; fi
steps=$((seconds * 9 / 10 * rate / 128))
echo "this machine trains $rate images/s: time for $steps steps (of 3744 in the recipe's 8 epochs)"
$juxta train simclr_fashion_mnist --out "$out" --set train.max_steps=$steps --set train.max_seconds=$seconds
$juxta eval "$out"
echo "report: $(realpath "$out")/report.html"
