#!/bin/sh
# Convolutional networks as several exporters write them (scripts/mkvision.py): each gives what ONNX
# Runtime gave. Run by make check in the build directory.
set -u
src=$(cd "${srcdir:-.}" && pwd)
fluidvm=$(pwd)/fluidvm
failed=0

for dir in "$src"/tests/vision/*/; do
  "$fluidvm" test --threads 2 --rtol 1e-4 --atol 1e-5 "${dir%/}" || failed=$((failed + 1))
done
[ $failed = 0 ] || echo "$failed failed"
[ $failed = 0 ]
