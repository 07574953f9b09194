#!/bin/sh
# Measuring that ends too early, by kill -9 or by an interrupt, at any moment: the database opens, no
# process stays behind, a further run measures the rest, and the one after it nothing. Moments are
# numbers of events, so a slow machine changes nothing. Run by make check in the build directory.
. "$(dirname "$0")/lib.sh"
model=$src/tests/onnx/several.onnx

fail() {
  failed=$((failed + 1))
  echo "FAIL: $*"
  sed 's/^/  | /' err
}

profile() { "$bin/fluidvm" profile "$model" --db "$db" --threads 1 --json "$@"; }

# start and send SIGNAL after EVENTS lines of output; status is what became of it
start_and_send() {
  : >out
  "$bin/fluidvm" profile "$model" --db "$db" --threads 1 --json >out 2>err &
  pid=$!
  while [ "$(wc -l <out)" -lt "$2" ] && kill -0 $pid 2>kill.err; do sleep 0.01; done
  kill "-$1" $pid 2>kill.err
  wait $pid 2>wait.err
  status=$?
}

# no process with the database among its arguments, after at most 10 s; the file keeps grep from
# finding itself
all_gone() {
  echo "$db" >pattern
  for turn in $(seq 100); do
    grep -q -F -f pattern /proc/[0-9]*/cmdline 2>grep.err || return 0
    sleep 0.1
  done
  return 1
}

# the last event of a run: its number called $1
last() { tail -n 1 out | sed -n "s/.*\"event\":\"done\".*\"$1\":\([0-9]*\).*/\1/p"; }

check_resumes() {
  all_gone || fail "$1: a process stays behind"
  if [ -e "$db" ]; then
    # killed before the schema was there, it is still an empty file
    "$bin/fluidvm" db verify "$db" >out 2>err || grep -q 'is empty' err ||
      fail "$1: the database is not what it seems"
  fi
  profile >out 2>err || fail "$1: cannot resume"
  [ "$(last problems)" = "$(last problems_done)" ] || fail "$1: resuming leaves problems undone"
  profile >out 2>err || fail "$1: the last run fails"
  [ "$(last samples)" = 0 ] || fail "$1: '$(last samples)' samples are measured again"
}

for events in 0 1 2 5 15 40; do
  db=$dir/kill$events.sqlite
  start_and_send KILL $events
  [ $status = 137 ] || [ $status = 0 ] || fail "kill after $events events: status $status"
  check_resumes "kill after $events events"
done

# A run that was done before the signal came proves nothing: once more.
for events in 1 4; do
  for try in $(seq 20); do
    db=$dir/int$events-$try.sqlite
    start_and_send INT $events
    [ $status = 0 ] || break
  done
  [ $status = 130 ] || fail "interrupt after $events events: status $status"
  [ "$(wc -l <err)" = 1 ] && grep -q '^fluidvm: .*interrupt' err ||
    fail "interrupt after $events events: not one line that says so"
  check_resumes "interrupt after $events events"
done

# Two at once share the work, or do it twice; both end well, and nothing is left to do.
db=$dir/two.sqlite
profile >out1 2>err1 &
pid=$!
profile >out 2>err || fail "two at once: the second fails"
[ "$(last problems)" = "$(last problems_done)" ] || fail "two at once: problems undone"
wait $pid || { cat err1; fail "two at once: the first fails"; }
check_resumes "two at once"
[ "$failed" = 0 ]
