#!/bin/sh
# Transformers as several exporters write them (scripts/mkexporters.py): each gives what ONNX Runtime
# gave, and is made of the operators that its fused.txt counts. Run by make check in the build
# directory; "exporters.sh write" writes fused.txt anew, to be looked at.
set -u
src=$(cd "${srcdir:-.}" && pwd)
fluidvm=$(pwd)/fluidvm
failed=0

# What matters: composites, what they would have been made of, and what moves data. Element-wise
# operators inside of fused nodes are counted only where they are one that was found by pattern.
count() {
  grep -oE '(\] = |[ {][0-9]+:[a-z0-9]+ = (Gelu|Silu)\()[A-Za-z]*' |
    sed -E 's/^\] = //; s/.*(Gelu|Silu).*/\1/; s/^(MatMulT?|Gemm)$/product/' |
    grep -E '^(Fused(Attention|Rope)|(Layer|RMS)Normalization|product|Gelu|Silu|Softmax|Erf|Tanh|Sigmoid|IsNaN|ReduceMean|Add|Mul|Transpose|Expand|Split|Slice|Concat)$' |
    LC_ALL=C sort | uniq -c | sed 's/^ *//'
}

for dir in "$src"/tests/exporters/*/; do
  dir=${dir%/} name=$(basename "$dir")
  dims=$(cat "$dir/dims")
  # dims is a list of options
  # shellcheck disable=SC2086
  fused=$("$fluidvm" dump $dims "$dir/model.onnx" | count)
  if [ "${1-}" = write ]; then
    echo "$fused" >"$dir/fused.txt"
    continue
  fi
  if [ "$fused" != "$(cat "$dir/fused.txt")" ]; then
    failed=$((failed + 1))
    echo "FAIL: $name is made of other operators than fused.txt says:"
    echo "$fused" | diff "$dir/fused.txt" - | grep '^[<>]'
  fi
  # shellcheck disable=SC2086
  if ! "$fluidvm" test --threads 2 --rtol 1e-4 --atol 1e-5 $dims "$dir"; then
    failed=$((failed + 1))
  fi
done

# Where a pattern does not match, explain says which and why.
if ! "$fluidvm" explain "$src/tests/exporters/deberta-ts17/model.onnx" --threads 1 |
  grep -q "Softmax .* is not part of attention: "; then
  failed=$((failed + 1))
  echo "FAIL: explain does not say why deberta has no attention"
fi
[ $failed = 0 ] || echo "$failed failed"
[ $failed = 0 ]
