#!/bin/sh
# Plans within limits: --pareto writes plans that run, a table and a picture; the same every time.
# Predicted numbers, no timings. Run by make check in the build directory.
. "$(dirname "$0")/lib.sh"
fluidvm="$bin/fluidvm"

fail() {
  failed=$((failed + 1))
  echo "FAIL: $*"
}

# The table's plans in order: latency rises, memory falls and is the sum of its parts; each is what the
# checker and the file say.
check_table() {
  awk -F, 'NR > 1 { if ($2 != $3 + $4 + $5) print "line " NR ": memory is not the sum of its parts"
                    if (NR > 2 && ($1 <= ns || $2 >= bytes)) print "line " NR " is beaten"
                    if ($8 > $1) print "line " NR ": the bound is above the latency"
                    ns = $1; bytes = $2 }' "$1" >said
  [ ! -s said ] || fail "$(cat said)"
}
for name in googlenet-ts15 densenet-ts17 efficientnet-dy20; do
  model=$src/tests/vision/$name/model.onnx
  "$fluidvm" plan "$model" -o net.plan --threads 1 --pareto front.svg --max-error 1e-4 >out 2>err ||
    fail "$name: $(cat err)"
  check_table front.csv
  n=$(($(wc -l <front.csv) - 1))
  [ "$n" -ge 2 ] || fail "$name: only $n points"
  [ "$(ls net-*.plan | wc -l)" = "$n" ] || fail "$name: plans and points differ"
  [ "$(grep -c '<circle' front.svg)" = "$n" ] || fail "$name: points of the picture differ"
  for i in $(seq "$n"); do
    "$fluidvm" check "net-$i.plan" "$model" >out 2>err || fail "check net-$i.plan: $(cat err)"
    "$bin/fvmrun" "net-$i.plan" --bench 1 >out 2>err || fail "fvmrun net-$i.plan: $(cat err)"
    arena=$("$bin/fvmrun" "net-$i.plan" --info | sed -n 's/^arena_bytes //p')
    [ "$arena" = "$(sed -n "$((i + 1))p" front.csv | cut -d, -f3)" ] || fail "net-$i.plan: arena"
  done
  mkdir again
  (cd again && "$fluidvm" plan "$model" -o net.plan --threads 1 --pareto front --max-error 1e-4 >out)
  for file in front.svg front.csv net-*.plan; do
    cmp -s "$file" "again/$file" || fail "$name: another $file the second time"
  done
  rm -rf again net-*
done
# Progress, as lines: more is done each time; then the plans of the table.
"$fluidvm" plan "$model" -o net.plan --threads 1 --pareto front --json >out 2>err || fail "$(cat err)"
[ ! -s err ] || fail "--json: $(cat err)"
awk -F'[:,]' '/^{"event":"progress","done":/ { n++; if ($4 <= done || $4 > 1) print; done = $4
                if (plans || !/"seconds_left":[0-9.]*,"text":"[0-9]* plans? down to .*"}$/) print; next }
              /^{"status":/ { plans++; next } { print }
              END { if (n < 1) print "no progress"; print plans " plans" }' out >said
[ "$(cat said)" = "$(($(wc -l <front.csv) - 1)) plans" ] || fail "--json: $(cat said)"
rm -f net-*
# The smallest plan within a latency: none of the front's that is as fast takes less.
model=$src/tests/vision/densenet-ts17/model.onnx
"$fluidvm" plan "$model" -o net.plan --threads 1 --pareto front >out 2>err || fail "$(cat err)"
"$fluidvm" plan "$model" -o small.plan --threads 1 --minimize memory --json >out 2>err ||
  fail "--minimize memory: $(cat err)"
small=$(sed 's/.*"resident_bytes":\([0-9]*\).*/\1/' out)
last=$(tail -n 1 front.csv | cut -d, -f2)
[ "$small" -le $((last + last / 100)) ] || fail "--minimize memory gave $small, the front $last"
ms=$(tail -n 1 front.csv | awk -F, '{ printf "%.6f", $1 / 1e6 }')
"$fluidvm" plan "$model" -o small.plan --threads 1 --minimize memory --latency "$ms" --json >out 2>err ||
  fail "--minimize memory --latency $ms: $(cat err)"
ns=$(sed 's/.*"predicted_ns":\([0-9]*\).*/\1/' out)
[ "$ns" -le "$(tail -n 1 front.csv | cut -d, -f1)" ] || fail "--latency $ms was not kept: $ns ns"
"$fluidvm" plan "$model" -o small.plan --minimize speed >out 2>err && fail "--minimize speed"
grep -q "it is latency or memory" err || fail "--minimize speed: $(cat err)"
[ "$failed" = 0 ]
