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
cmake --preset release >/dev/null
cmake --build --preset release --target juxta_program
juxta=build/release/bin/juxta
trial=$(mktemp -d)
trap 'rm -rf "$trial"' EXIT
rate=$($juxta train simclr_fashion_mnist --quiet --out "$trial/run" --set train.max_steps=20 \
  --set train.monitor_every=0 | sed -nE 's/.* ([0-9]+) images\/s.*/\1/p')
left=$((1200 - SECONDS)) # bash counts SECONDS from the start of this script
# What the kNN of every epoch, the report and the evaluation take comes off; the limit is for a machine that slows down.
seconds=$((left > 350 ? left * 4 / 5 - 80 : 200))
steps=$((seconds * rate / 256)) # of 256 images, the recipe's batch
echo "this machine trains $rate images/s: time for $steps steps (of 1872 in the recipe's 8 epochs)"
$juxta train simclr_fashion_mnist --out "$out" --set train.max_steps=$steps \
  --set train.max_seconds=$((seconds * 9 / 8))
$juxta eval "$out"
echo "report: $(realpath "$out")/report.html"
