#!/bin/sh
# Decoder layers end to end (tests/decoder, made by scripts/mkdecoder.py): the patterns in them are
# found, all of them and nothing else is left, and results are ONNX Runtime's on every instruction
# set. Run by make check in the build directory.
set -u
bin=$(pwd)
src=$(cd "${srcdir:-.}" && pwd)
failed=0

fail() {
  failed=$((failed + 1))
  echo "FAIL: $*"
}

# patterns MODEL 'COUNT NAME ...': how often operators made of others, and what they are made of, are
# in the graph after all passes
made='FusedAttention|FusedRope|RMSNormalization|Silu'
parts='Softmax|Expand|Tile|Neg|Slice|Split|Pow|ReduceMean|Sqrt|Div|Sigmoid|Where|Trilu'
patterns() {
  "$bin/fluidvm" dump "$src/tests/decoder/$1/model.onnx" >dump.$$ || fail "dump $1"
  got=$(grep -oE "= ($made|$parts)\\(" dump.$$ | tr -d '= (' | LC_ALL=C sort | uniq -c |
    tr -s ' \n' ' ')
  [ "$got" = " $2 " ] || fail "$1 has$got, expected $2"
  # The gate of SwiGLU is in the product that it multiplies.
  got=$(grep -cE '= MatMul\(.*\{.*Silu.*Mul.*\}' dump.$$)
  [ "$got" = 2 ] || fail "$1 has $got gated products"
  rm -f dump.$$
}

patterns llama '2 FusedAttention 4 FusedRope 5 RMSNormalization 2 Silu'
patterns llama-past '2 FusedAttention 4 FusedRope 5 RMSNormalization 2 Silu'

for model in llama llama-past; do
  for isa in ref avx2 avx512; do
    for threads in 1 2; do
      FLUIDVM_ISA=$isa "$bin/fluidvm" test --threads $threads --rtol 1e-4 --atol 1e-4 \
        "$src/tests/decoder/$model" >/dev/null || fail "$model on $isa, $threads threads"
    done
  done
done
[ "$failed" = 0 ]
