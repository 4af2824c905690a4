#!/usr/bin/env bash
# From a bare machine to a contrastive learner in 20 minutes: installs what is missing, builds the program, trains
# SimCLR on the 60,000 images of Fashion-MNIST, evaluates it and prints the table of scores. On a machine too slow for
# all epochs of the recipe, training is cut so that the 20 minutes hold; the program says so.
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
left=$((1200 - SECONDS)) # bash counts SECONDS from the start of this script
# What the kNN of every epoch, the report and the evaluation take comes off.
$juxta train simclr_fashion_mnist --out "$out" --set train.max_seconds=$((left > 350 ? left * 5 / 6 - 80 : 210))
$juxta eval "$out"
echo "report: $(realpath "$out")/report.html"
