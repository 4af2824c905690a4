#!/usr/bin/env bash
# From a bare machine to a contrastive learner: installs what is missing, builds the program, trains SimCLR on
# the 60,000 images of Fashion-MNIST, evaluates it and prints the table of scores.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-runs/demo}
if [ -e "$out" ]; then
  echo "tools/demo.sh: $out is there already; give another folder: tools/demo.sh FOLDER" >&2
  exit 2
fi
tools/setup.sh
cmake --preset release -DJUXTA_TESTS=OFF -DJUXTA_BENCH=OFF >/dev/null
cmake --build --preset release --target juxta_program
juxta=build/release/bin/juxta
$juxta train simclr_fashion_mnist --out "$out"
$juxta eval "$out"
echo "report: $(realpath "$out")/report.html"
