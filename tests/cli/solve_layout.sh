#!/bin/sh
# fluidvm solve layout: 200 random networks of several kinds against toulbar2, an exact solver of
# others; the labels' cost is added up again. Skipped without toulbar2 or python3.
. "$(dirname "$0")/lib.sh"
command -v toulbar2 >/dev/null && command -v python3 >/dev/null || exit 77
exec python3 "$src/tests/cli/solve_layout.py" "$bin/fluidvm"
