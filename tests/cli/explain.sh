#!/bin/sh
# fluidvm explain of a model, of a plan, of a plan with its model, of a node; with a database and
# without. Values, not timings. Run by make check in the build directory.
. "$(dirname "$0")/lib.sh"
model=$src/tests/onnx/matmul_add.onnx
fluidvm=$bin/fluidvm

# says TEXT COMMAND ...: it ends well and prints the text
says() {
  text=$1
  shift
  "$@" >out 2>err
  got=$?
  if [ "$got" != 0 ] || ! grep -qF -- "$text" out; then
    failed=$((failed + 1))
    echo "FAIL: $*"
    echo "  wanted '$text'; got status $got and:"
    sed 's/^/  | /' out err
  fi
}
"$fluidvm" profile "$model" --db db --threads 1 --quiet >out 2>err || { cat err; exit 1; }
"$fluidvm" plan "$model" --db db --threads 1 -o plan >out 2>err || { cat err; exit 1; }
node=$("$fluidvm" dump "$model" | sed -n 's/.*MatMul(.*@\([^ ]*\).*/\1/p' | head -n 1)

# The checker holds the plan against its model and the database that it was made from.
says "right" "$fluidvm" check plan
says "right, and of this model" "$fluidvm" check plan "$model"
says "right, and of this model, at the costs of db" "$fluidvm" check plan "$model" --db db
"$fluidvm" plan "$model" --threads 1 -o guessed >out 2>err || { cat err; exit 1; }
"$fluidvm" check guessed "$model" --db db >out 2>err
if [ $? != 3 ] || ! grep -q "its cost is .* ns, but .* by the database" err; then
  failed=$((failed + 1))
  echo "FAIL: costs that were not measured: $(cat err)"
fi

says "time by kind of step" "$fluidvm" explain "$model" --threads 1 --runs 2
printf '%s\n' '- {op: MatMul, threads: 1}' >pins.yaml
says "labels and layouts" "$fluidvm" explain "$model" --threads 1 --runs 2
says "conversions: 0" "$fluidvm" explain plan --runs 2
says "pins of pins.yaml" "$fluidvm" explain "$model" --threads 2 --runs 2 --pin pins.yaml
says "pinned; without the pin: " "$fluidvm" explain "$model" --threads 2 --runs 2 --pin pins.yaml
says "pinned by line 1; without the pin: " "$fluidvm" explain "$model" "$node" --threads 2 --runs 2 --pin pins.yaml
says "forced to gemm_" "$fluidvm" explain "$model" "$node" --db db --threads 1 --runs 2
says '"pins":{"file":"pins.yaml"' "$fluidvm" explain "$model" --json --threads 2 --runs 2 --pin pins.yaml
says "every pattern that was begun was found whole" "$fluidvm" explain "$model" --db db --runs 2
says "give its model by --model" "$fluidvm" explain plan --runs 2
says "MatMul+Add" "$fluidvm" explain plan --model "$model" --runs 2 --all
says "the fastest" "$fluidvm" explain "$model" "$node" --db db --threads 1 --runs 2
says "labels  " "$fluidvm" explain plan "$node" --db db --runs 2
says "the analytic model" "$fluidvm" explain "$model" "$node" --runs 2
says '"runs":2,' "$fluidvm" explain "$model" --json --runs 2
says '"chosen":true' "$fluidvm" explain plan "$node" --db db --json --runs 2
if grep -q "$(printf '\033')" out; then
  failed=$((failed + 1))
  echo "FAIL: colours in a file"
fi

# refuses TEXT COMMAND ...: wrong usage, and the text says why
refuses() {
  text=$1
  shift
  "$@" >out 2>err
  got=$?
  if [ "$got" != 2 ] || ! grep -qF -- "$text" err; then
    failed=$((failed + 1))
    echo "FAIL: $*: status $got, $(cat err)"
  fi
}
refuses "--pin is for models" "$fluidvm" explain plan --pin pins.yaml
refuses "needs the model, too" "$fluidvm" check plan --db db
refuses "--db DB" "$fluidvm" explain plan "$node" --runs 2
refuses "no node 'none'" "$fluidvm" explain plan none --db db --runs 2
refuses "was made from another one" "$fluidvm" explain plan --model "$src/tests/onnx/first.onnx"
[ "$failed" = 0 ]
