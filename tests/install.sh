#!/bin/sh
# What make install leaves behind is enough: a program compiled against nothing but the installed
# header and pkg-config file loads a plan, runs it and gets an error for a file that is not there.
set -eu
src=$(cd "${srcdir:-.}" && pwd)
command -v pkg-config >/dev/null || exit 77
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
# Called from make, but with a make of its own: no flags, no job server.
MAKEFLAGS='' "${MAKE:-make}" -s install DESTDIR="$dir/root" >"$dir/out" 2>&1 || {
  cat "$dir/out"
  exit 1
}
pc=$(find "$dir/root" -name fluidvm.pc)
export PKG_CONFIG_PATH="${pc%/*}" PKG_CONFIG_SYSROOT_DIR="$dir/root"
lib=$(pkg-config --variable=libdir fluidvm)

cat >"$dir/client.c" <<'C'
#include <fluidvm.h>
#include <stdio.h>
int main(int argc, char **argv) {
  struct fvm_error err = {0};
  struct fvm_plan *plan;
  struct fvm_instance *inst;
  static _Alignas(64) float x[4] = {1, 0, 0, 1}, y[4];
  if (fvm_load("there-is-none.plan", &plan, &err) != FVM_EFORMAT || !err.text[0]) return 1;
  if (argc > 1) {
    if (fvm_load(argv[1], &plan, &err) || fvm_open(plan, 0, NULL, &inst, &err) ||
        fvm_bind_input(inst, 0, x, sizeof x, &err) || fvm_bind_output(inst, 0, y, sizeof y, &err) ||
        fvm_run(inst, &err)) {
      puts(err.text);
      return 1;
    }
    fvm_close(inst);
    fvm_unload(plan);
  }
  printf("%s %g %g %g %g\n", fvm_version(), y[0], y[1], y[2], y[3]);
  return 0;
}
C
# shellcheck disable=SC2046,SC2086  # lists of flags
${CC:-cc} ${CFLAGS-} -o "$dir/client" "$dir/client.c" $(pkg-config --cflags --libs fluidvm)
# The plan of y = (x w + b) v; an executor built alone has no tool to make one.
plan='' want='0 0 0 0'
if [ -x ./fluidvm ]; then
  plan=$dir/model.plan want='20 26 38 53'
  ./fluidvm plan "$src/tests/onnx/matmul_add.onnx" -o "$plan" >"$dir/out" 2>&1 || {
    cat "$dir/out"
    exit 1
  }
fi
got=$(LD_LIBRARY_PATH="$dir/root${lib#"$dir/root"}" "$dir/client" ${plan:+"$plan"})
echo "$got"
[ "$got" = "$(pkg-config --modversion fluidvm) $want" ]
