#!/usr/bin/env python3
"""Lazy against exhaustive measuring. Called by scripts/bench-lazy."""
import argparse, os, tempfile
from bench import interleave, profile, ratios, share_equal, tool

WAYS = [("lazy", []), ("lazy again", []), ("exhaustive", ["--exhaustive"])]


def compare(a, model, folder):
    name = os.path.basename(model).removesuffix(".onnx")
    dims = [x for d in a.dim for x in ("--dim", d)]
    plans = {}
    for i, (way, options) in enumerate(WAYS):
        db = f"{folder}/{i}.sqlite"
        done = profile(a, model, db, "--threads", a.threads, *options, *dims)
        print(f"{name}: {way}: {done['labels_measured']} of {done['labels_total']} labels, {done['samples']} samples, "
              f"{done['seconds']:.1f} s, prior off by {100 * done['prior']['median_error']:.0f} % "
              f"(one in ten by {100 * done['prior']['p90_error']:.0f} %)", flush=True)
        for t in a.threads.split(","):
            plans[t, i] = f"{folder}/{i}.{t}.plan"
            tool(a, "fluidvm", "plan", model, "--db", db, "--threads", t, "-o", plans[t, i], *dims)
    for t in a.threads.split(","):
        ns = interleave(a, [plans[t, i] for i in range(len(WAYS))], t, a.rounds)
        lazy, again, all_of = (min(x) / 1e6 for x in ns)
        print(f"{name}: {t} threads: lazy {lazy:.3f} ms, again {again:.3f}, exhaustive {all_of:.3f}; "
              f"lazy / exhaustive {lazy / all_of:.4f}, again / lazy {again / lazy:.4f}, "
              f"of medians {ratios(ns[0], ns[2])[1]:.4f}, {ratios(ns[1], ns[0])[1]:.4f}; "
              f"{100 * share_equal(a, plans[t, 0], plans[t, 1]):.0f} % equal labels", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--build", required=True)
    p.add_argument("--threads", default="1,2")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--dim", action="append", default=[])
    p.add_argument("model", nargs="+")
    a = p.parse_args()
    for model in a.model:
        with tempfile.TemporaryDirectory() as folder:
            compare(a, model, folder)


main()
