#!/usr/bin/env bash
# Installs the Debian packages that Juxta builds with; quick when all are there. Needs root or sudo, Debian 12.
set -euo pipefail
packages=(
  g++ cmake ninja-build git ca-certificates
  libeigen3-dev libcli11-dev libtomlplusplus-dev nlohmann-json3-dev zlib1g-dev libjpeg-dev libpng-dev
  libgtest-dev libbenchmark-dev libopenblas-dev dataset-fashion-mnist
)
case "${1:-}" in
  --help)
    echo "usage: tools/setup.sh [--check | --test]   install the Debian packages Juxta (--test: its tests too) needs"
    exit 0
    ;;
  --test) packages+=(clang) ;;
esac
missing=()
for p in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing+=("$p")
done
[ "${#missing[@]}" -eq 0 ] && exit 0
if [ "${1:-}" = --check ]; then
  echo "missing packages: ${missing[*]}"
  exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "tools/setup.sh: run as root, or install sudo" >&2; exit 2; }
  as_root=(sudo)
fi
echo "installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -q >/dev/null
"${as_root[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null
