#!/bin/sh
# fluidvm plan: what it reports, and that equal inputs give equal plans. Run by make check in the build
# directory.
. "$(dirname "$0")/lib.sh"
fluidvm="$bin/fluidvm"

fail() {
  failed=$((failed + 1))
  echo "FAIL: $*"
}

# Where planning spends its time: a number for each row of phases.def.
"$fluidvm" plan "$src/tests/onnx/matmul_add.onnx" -o p --json >out || fail "plan --json"
for phase in $(sed -n 's/^PHASE(\([a-z]*\),.*/\1/p' "$src/scheduler/phases.def"); do
  grep -q "\"seconds\":{[^}]*\"$phase\":[0-9]" out || fail "plan --json has no seconds of $phase"
done

# What is proved of order and arena.
number() { sed -n "s/.*\"$1\":\([0-9]*\)[,}].*/\1/p" out; }
"$fluidvm" plan "$src/tests/decoder/llama/model.onnx" -o p --json >out || fail "plan --json"
grep -q '"order_status":"optimal"' out || fail "the order of a small decoder is not proved"
[ "$(number order_peak_bytes)" = "$(number order_bound_bytes)" ] || fail "a proved order with a gap"
[ "$(number arena_bytes)" -ge "$(number order_peak_bytes)" ] || fail "an arena below the order's peak"

# --pin: an error names the file's line; dump --pins writes a file that makes the plan again.
model=$src/tests/onnx/matmul_add.onnx
pins() {
  status=$1 says=$2
  printf '%s\n' "$3" >pins.yaml
  "$fluidvm" plan "$model" -o pinned --pin pins.yaml >out 2>&1
  got=$?
  [ $got = "$status" ] && grep -qF -- "$says" out || fail "pins '$3': status $got, $(cat out)"
}
pins 0 "layout and labels optimal" '- {op: MatMul, threads: 1}'
pins 3 "pins.yaml:1: no node with operator 'Conv' is left" '- {op: Conv, threads: 1}'
pins 3 "pins.yaml:1: the pin leaves node" '- {op: MatMul, use: none}'
pins 3 "did you mean 'threads'?" '- {op: MatMul, thread: 1}'
"$fluidvm" plan "$model" -o p --pin none.yaml >out 2>&1
[ $? = 2 ] && grep -q "none.yaml: cannot be read" out || fail "missing pins: $(cat out)"
"$fluidvm" plan "$model" -o free >out 2>&1 && "$fluidvm" dump free --pins >free.yaml || fail "dump --pins"
"$fluidvm" plan "$model" -o frozen --pin free.yaml >out 2>&1 || fail "plan with frozen pins: $(cat out)"
"$fluidvm" dump free --yaml >1 && "$fluidvm" dump frozen --yaml >2 && cmp 1 2 || fail "the frozen plan differs"
"$fluidvm" run "$model" --pin free.yaml >out 2>&1 || fail "run --pin: $(cat out)"
"$fluidvm" bench free --pin free.yaml >out 2>&1
[ $? = 2 ] && grep -q "is a plan, with labels of its own" out || fail "pins of a plan: $(cat out)"

# Published policies plan as right, and say who planned.
for policy in greedy none fluidml; do
  "$fluidvm" plan "$src/tests/decoder/llama/model.onnx" -o p --policy $policy --json --max-error 1e-4 >out &&
    grep -q "\"policy\":\"$policy\"" out || fail "plan --policy $policy"
  "$fluidvm" check p "$src/tests/decoder/llama/model.onnx" >out || fail "check of a plan by $policy"
  "$fluidvm" bench "$src/tests/decoder/llama/model.onnx" --policy $policy --runs 3 >out || fail "bench --policy $policy"
done

# The same inputs give the same bytes: from another folder, by another way to the model, at other addresses
# (all of them random, all fixed), with another environment, for every policy and limit.
same() {
  model=$1
  shift
  name=$(echo "$model $*" | tr '/ ' '__')
  "$fluidvm" plan "$src/tests/$model" -o one "$@" -q >out || fail "plan of $model"
  mkdir -p "deep/$name"
  (cd "deep/$name" && cp "$src/tests/$model" other.onnx &&
    TMPDIR=$dir LANG=C MALLOC_PERTURB_=85 "$fluidvm" plan other.onnx -o ./two "$@" -q >out) || fail "plan of a copy of $model"
  cmp one "deep/$name/two" || fail "$model $*: other bytes from another folder"
  if setarch -R true 2>/dev/null; then
    setarch -R "$fluidvm" plan "$src/tests/$model" -o three "$@" -q >out || fail "plan of $model at fixed addresses"
    cmp one three || fail "$model $*: other bytes at other addresses"
  fi
}
for model in decoder/llama decoder/llama-past exporters/bert-dy18 exporters/t5-gated-dy20 vision/densenet-ts17 \
  vision/efficientnet-dy20; do
  same $model/model.onnx --threads 2 --dim '*=3'
done
for policy in greedy none fluidml; do
  same vision/googlenet-ts15/model.onnx --threads 2 --policy $policy
done
same vision/googlenet-ts15/model.onnx --threads 1 --max-arena 20K
"$fluidvm" profile "$src/tests/onnx/matmul_add.onnx" --db db --threads 1,2 --budget 5 -q >out || fail "profile"
same onnx/matmul_add.onnx --threads 2 --db "$dir/db"

[ $failed = 0 ] || echo "$failed failed"
[ $failed = 0 ]
