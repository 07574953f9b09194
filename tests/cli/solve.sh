#!/bin/sh
# fluidvm solve memory: rows, status line, exit status. Run by make check in the build directory.
. "$(dirname "$0")/lib.sh"

fail() {
  failed=$((failed + 1))
  echo "FAIL: $*"
}
solve() { "$bin/fluidvm" solve memory "$@" >out 2>err; }

cat >a.csv <<'END'
id,lower,upper,size
x,0,4,6
y,2,8,3
z,4,8,6
END
solve a.csv || fail "status $?"
[ "$(sed -n 1p out)" = id,lower,upper,size,offset ] && [ "$(wc -l <out)" -eq 4 ] || fail "rows"
grep -q '^height 9 bound 9 status optimal seconds [0-9.]*$' err || fail "status line: $(cat err)"
solve a.csv --capacity 9 || fail "capacity 9"
solve a.csv --capacity 8
[ $? = 1 ] && [ ! -s out ] && grep -q 'bound 9 status infeasible' err &&
  grep -q 'no packing fits into 8 bytes; it takes 9 at least' err || fail "capacity 8: $(cat err)"
solve a.csv --json && grep -q '"status":"optimal","height":9,"bound":9,.*"offsets":\[' out ||
  fail "json: $(cat out)"

printf 'id,lower,upper,size\nx,0,4,6\ny,4,2,1\n' >b.csv
solve b.csv
[ $? = 3 ] && [ "$(wc -l <err)" -eq 1 ] && grep -q 'b.csv: line 3: lower is 4 and upper 2' err ||
  fail "b.csv: $(cat err)"
solve none.csv
[ $? = 3 ] || fail "no file"

exit "$((failed > 0))"
