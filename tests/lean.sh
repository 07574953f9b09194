#!/bin/sh
# The executor stays lean: fvmrun needs libc and libm only, and its code without micro-kernels fits
# in 64 KiB. Skipped for builds that are not the ordinary one (sanitizers, no optimisation).
set -eu
case " ${CFLAGS-} " in *" -fsanitize"* | *" -O0 "*) exit 77 ;; esac
command -v ldd >/dev/null && command -v size >/dev/null || exit 77

extra=$(ldd ./fvmrun | awk '{print $1}' | grep -Ev '^(linux-vdso|libc\.|libm\.|/lib.*/ld-|libpthread\.)' || :)
if [ -n "$extra" ]; then
  echo "fvmrun needs more than libc and libm: $extra"
  exit 1
fi

# Micro-kernels live in objects named *ukr_*; ukr.o itself, their table, counts.
text=$(size vm/fvmrun.o .libs/libexec.a | awk '$1 ~ /^[0-9]+$/ && $6 !~ /ukr_/ {n += $1} END {print n}')
echo "fvmrun without micro-kernels: $text bytes of text"
[ "$text" -le 65536 ]
