#!/bin/sh
# fluidvm profile killed at random moments (kill.py). More of them, and of a larger model:
#   python3 tests/cli/kill.py BUILD/fluidvm MODEL 100 0.8 1 1.05
. "$(dirname "$0")/lib.sh"
command -v python3 >/dev/null || exit 77
exec python3 "$src/tests/cli/kill.py" "$bin/fluidvm" "$src/tests/onnx/several.onnx" 8 0.6
