#!/usr/bin/env bash
# check_objects.sh BUILD_FOLDER: the objects of kernels/*.simd.cpp hold no weak symbols and no static initialisers. A
# weak symbol compiled for AVX-512 may be the one that the linker keeps for everybody; an initialiser would run before
# CPUID is read.
set -euo pipefail
status=0 objects=0
while IFS= read -r object; do
  objects=$((objects + 1))
  weak=$(nm -C "$object" | grep -E ' [VWu] ' | grep -vE ' [VWu] (DW\.ref\.|_?_?cxa_|__gxx_personality)' || true)
  if [ -n "$weak" ]; then
    echo "check_objects: $object: weak symbols:" >&2
    echo "$weak" | head -n 5 >&2
    status=1
  fi
  if readelf -SW "$object" | grep -qE '\.(init_array|ctors)'; then
    echo "check_objects: $object: static initialisers" >&2
    status=1
  fi
done < <(find "$1/CMakeFiles" -path '*juxta_isa_*' -name '*.o')
if [ "$objects" -eq 0 ]; then echo "check_objects: no objects of kernels/*.simd.cpp in $1; build first" >&2; exit 2; fi
exit $status
