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

[ $failed = 0 ] || echo "$failed failed"
[ $failed = 0 ]
