#!/bin/sh
# What users get wrong: each case ends with the right exit status and exactly one line on stderr that
# names the culprit. Run by make check in the build directory.
. "$(dirname "$0")/lib.sh"
model=$src/tests/onnx/matmul_add.onnx

# expect STATUS TEXT COMMAND ...
expect() {
  status=$1 text=$2
  shift 2
  "$@" >out 2>err
  got=$?
  lines=$(wc -l <err)
  if [ "$got" != "$status" ] || [ "$lines" != 1 ] || ! grep -qF -- "$text" err; then
    failed=$((failed + 1))
    echo "FAIL: $*"
    echo "  wanted status $status and one line with '$text'; got status $got and $lines lines:"
    sed 's/^/  | /' err
  fi
}
fluidvm="$bin/fluidvm" fvmrun="$bin/fvmrun"

# usage
expect 2 "no command" "$fluidvm"
expect 2 "did you mean 'profile'" "$fluidvm" profil x
expect 2 "did you mean --threads" "$fluidvm" plan --thread-s 2 "$model" -o p
expect 2 "needs a value" "$fluidvm" plan "$model" -o
expect 2 "--threads 0" "$fluidvm" plan "$model" -o p --threads 0
expect 2 "--max-arena 12Q" "$fluidvm" plan "$model" -o p --max-arena 12Q
expect 2 "missing arguments" "$fluidvm" plan
expect 2 "too many arguments" "$fluidvm" plan a b -o p
expect 2 "--dim" "$fluidvm" plan "$model" -o p --dim n=zero
expect 2 "no plan" "$fvmrun"
expect 2 "did you mean" "$fvmrun" --bensh 3 x

# files
expect 3 "none.onnx" "$fluidvm" plan none.onnx -o p
expect 3 "none.plan" "$fvmrun" none.plan
head -c 40 "$model" >cut.onnx
expect 3 "cut.onnx" "$fluidvm" plan cut.onnx -o p
echo "not a plan" >text
expect 3 "text" "$fvmrun" text
expect 3 "text" "$fluidvm" plan "$model" --db text -o p
expect 3 "text" "$fluidvm" profile "$model" --db text
[ "$(cat text)" = "not a plan" ] || { echo "FAIL: a foreign file was changed"; failed=$((failed + 1)); }
expect 4 "/proc/x.sqlite" "$fluidvm" profile "$model" --db /proc/x.sqlite
expect 4 "/proc/x.plan" "$fluidvm" plan "$model" -o /proc/x.plan
expect 4 "/dev/full" "$fluidvm" plan "$model" -o /dev/full
expect 2 "--policy best" "$fluidvm" plan "$model" -o p --policy best
expect 2 "knows no limits" "$fluidvm" plan "$model" -o p --policy none --max-arena 1M
expect 1 "--max-arena" "$fluidvm" plan "$model" -o p --max-arena 1
expect 1 "--memory" "$fluidvm" plan "$model" -o p --memory 1
expect 1 "--max-error" "$fluidvm" plan "$src/tests/onnx/several.onnx" -o p --max-error 0
expect 1 "--latency" "$fluidvm" plan "$model" -o p --latency 0

expect 2 "unknown solver" "$fluidvm" solve layot text
expect 3 "none.wcsp: cannot be opened" "$fluidvm" solve layout none.wcsp
expect 3 "text: line 1: 'a' is not an integer" "$fluidvm" solve layout text

expect 2 "no node 'none'" "$fluidvm" explain "$model" none
expect 2 "--model belongs to a plan" "$fluidvm" explain "$model" --model "$model"
expect 3 "none.onnx" "$fluidvm" explain none.onnx
expect 3 "text" "$fluidvm" explain "$model" --db text
expect 2 "too many arguments" "$fluidvm" explain "$model" a b

# a disk that is full half way: a limit on file size gives the same error from write()
expect 4 "p.full" sh -c "ulimit -f 1; trap '' XFSZ; exec '$fluidvm' plan '$model' -o p.full"
[ ! -e p.full ] || { echo "FAIL: half a plan was left behind"; failed=$((failed + 1)); }

# results that never reach their file
expect 4 "standard output" sh -c "'$fluidvm' dump '$model' >/dev/full"
expect 4 "standard output" sh -c "'$fluidvm' dump '$model' >&-"
expect 4 "set TMPDIR" env TMPDIR="$dir/none" "$fluidvm" run "$model"

# what is left alone: nothing but this script's own files
[ -z "$(ls | grep -vE '^(out|err|text|cut.onnx)$')" ] ||
  { echo "FAIL: files left behind: $(ls)"; failed=$((failed + 1)); }
[ "$failed" = 0 ]
