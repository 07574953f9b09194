#!/bin/sh
# The table and the plot of scripts/bench-peers from stored measurements, a failed peer among them,
# and its wrong usage. Skipped without python3.
set -u
src=$(cd "${srcdir:-.}" && pwd)
command -v python3 >/dev/null || exit 77
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0
cat >"$dir/results.json" <<'END'
{"date": "2026-01-02", "rounds": 3, "machine": {"cpu": "A <CPU> & more", "cores": 2, "isa": "AVX2",
 "memory_gib": 8, "system": "Linux 6", "load": 2.5},
 "engines": {"fluidvm": {"name": "FluidVM", "version": ""}, "ort": {"name": "ONNX Runtime", "version": "1"},
  "mnn": {"name": "MNN", "version": "3"}},
 "rows": [{"model": "net", "threads": 1, "bound": {"flops": 8e8, "weight_bytes": 1e6, "peak_gflops": 100,
   "read_gbytes": 10},
  "engines": {"ort": {"min_ms": 12.5, "median_ms": 13, "n": 9, "load_s": 0.5, "peak_mib": 200, "difference": 0},
   "mnn": {"error": "conversion: no such operator"},
   "fluidvm": {"min_ms": 10, "median_ms": 11, "n": 9, "load_s": 0.05, "peak_mib": 50, "difference": 1e-6}}}]}
END
python3 "$src/scripts/peers_report.py" "$dir/results.json" || exit 1
wants() {
  grep -qF -- "$2" "$dir/$1" || { failed=$((failed + 1)); echo "FAIL: no '$2' in $1:"; cat "$dir/$1"; }
}
wants results.md "| net | 1 | **10.0** | 12.5 | failed [1] | 0.80 | 8.00 | 80 % |"
wants results.md "| net | 1 | **50.0** | 200 | failed [1] | 0.25 |"
wants results.md "1. MNN on net: conversion: no such operator"
wants results.md "its load was 2.5"
wants results.svg "A &lt;CPU&gt; &amp; more"
wants results.svg "12.5 ms · 1.25×"
wants results.svg "MNN failed"
sed 's/"net"/"other"/; s/2026-01-02/2026-01-03/' "$dir/results.json" >"$dir/more.json"
python3 "$src/scripts/peers_report.py" "$dir/results.json" "$dir/more.json" || exit 1
wants results.md "| net | 1 | **10.0** |"
wants results.md "| other | 1 | **10.0** |"
wants results.md "2026-01-03"
python3 "$src/scripts/peers_report.py" --short "$dir/results.json" >"$dir/short" || exit 1
wants short "| net | 10.0 | 12.5 |  | 50 | 200 | 0.05 : 0.50 s |"
python3 -c 'import sys, xml.dom.minidom as x; x.parse(sys.argv[1])' "$dir/results.svg" || exit 1
for wrong in --modles "--rounds" "extra"; do
  "$src/scripts/bench-peers" "$wrong" >"$dir/out" 2>&1
  [ $? = 2 ] || { failed=$((failed + 1)); echo "FAIL: bench-peers $wrong: $(cat "$dir/out")"; }
done
[ "$failed" = 0 ]
