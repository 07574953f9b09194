#!/bin/sh
# The executor stays lean: fvmrun needs libc and libm only, and what is not a micro-kernel is small.
# Skipped for builds that are not the ordinary one (sanitizers, no optimisation).
set -eu
case " ${CFLAGS-} " in *" -fsanitize"* | *" -O0 "*) exit 77 ;; esac
command -v ldd >/dev/null && command -v size >/dev/null || exit 77

extra=$(ldd ./fvmrun | awk '{print $1}' | grep -Ev '^(linux-vdso|libc\.|libm\.|/lib.*/ld-|libpthread\.)' || :)
if [ -n "$extra" ]; then
  echo "fvmrun needs more than libc and libm: $extra"
  exit 1
fi
exec "${srcdir:-.}/scripts/executor-size" .
