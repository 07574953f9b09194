#!/bin/sh
# fluidvm db: what was profiled comes through merge, export and import as it was, and a plan made
# from a merged copy has the same bytes; what was
# measured is measured again; wrong files and actions are refused. Run by make check in the build
# directory.
. "$(dirname "$0")/lib.sh"
model=$src/tests/onnx/matmul_add.onnx
fluidvm=$bin/fluidvm

does() { # COMMAND ...: it ends well
  "$@" >out 2>err && return
  failed=$((failed + 1))
  echo "FAIL: $*"
  sed 's/^/  | /' err
}
same() { # FILE FILE
  cmp "$1" "$2" || { failed=$((failed + 1)); echo "FAIL: $1 and $2 differ"; }
}
refuses() { # STATUS TEXT COMMAND ...
  want=$1 text=$2
  shift 2
  "$@" >out 2>err
  got=$?
  [ "$got" = "$want" ] && grep -qF -- "$text" err && [ "$(wc -l <err)" = 1 ] && return
  failed=$((failed + 1))
  echo "FAIL: $*: status $got, not $want"
  sed 's/^/  | /' err
}

does "$fluidvm" profile "$model" --db a --threads 1 --quiet
does "$fluidvm" profile "$src/tests/onnx/several.onnx" --db b --threads 1 --quiet
does "$fluidvm" db verify a b
does "$fluidvm" db merge ab a b
does "$fluidvm" db merge ba b
does "$fluidvm" db merge ba a ab
does "$fluidvm" db export ab
mv out ab.lines
does "$fluidvm" db export ba
same out ab.lines
does "$fluidvm" db import copy ab.lines
does "$fluidvm" db export copy
same out ab.lines
does "$fluidvm" plan "$model" --db a --threads 1 -o one.plan
does "$fluidvm" db merge only_a a
does "$fluidvm" plan "$model" --db only_a --threads 1 -o two.plan
same one.plan two.plan
does "$fluidvm" db export a --format t4
grep -q '"schema_version":"1.0.0"' out || { failed=$((failed + 1)); echo "FAIL: no T4 file"; }
does "$fluidvm" db prune ab
does "$fluidvm" db verify ab --json
grep -q '"findings":0' out || { failed=$((failed + 1)); echo "FAIL: findings after prune"; }

# Times are nobody's business here: any factor will do.
does "$fluidvm" db verify b --sample 3 --drift 1000000 --json
tail -n 1 out | grep -q '"sampled":3,"off":0,"gone":0,' || { failed=$((failed + 1)); cat out; }
does "$fluidvm" replay 1 --db b
grep -q 'outcome  the same' out || { failed=$((failed + 1)); cat out; }
does "$fluidvm" replay 2 --db b --json
grep -q '"same_machine":true,"same_build":true,"same_protocol":true,"same_outcome":true' out ||
  { failed=$((failed + 1)); cat out; }
refuses 2 "there is no run 99999" "$fluidvm" replay 99999 --db b
refuses 2 "'first' is no number" "$fluidvm" replay first --db b
refuses 2 "--db FILE" "$fluidvm" replay 1

echo "not a database" >text
refuses 3 "text" "$fluidvm" db merge ab a text
refuses 3 "text: line 1" "$fluidvm" db import ab text
refuses 4 "absent" "$fluidvm" db import ab absent
refuses 3 "text" "$fluidvm" db verify text
refuses 2 "db merge needs" "$fluidvm" db merge ab
refuses 2 "db import needs" "$fluidvm" db import ab
refuses 2 "takes one database" "$fluidvm" db export a b
refuses 2 "there are lines and t4" "$fluidvm" db export a --format xml
refuses 2 "unknown action 'mend'" "$fluidvm" db mend a
[ "$failed" = 0 ]
