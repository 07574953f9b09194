#!/usr/bin/env python3
"""Lazy against exhaustive measuring. Called by scripts/bench-lazy."""
import argparse, json, os, re, subprocess, sys, tempfile

WAYS = [("lazy", []), ("lazy again", []), ("exhaustive", ["--exhaustive"])]


def tool(a, program, *args):
    r = subprocess.run([f"{a.build}/{program}", *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if r.returncode:
        sys.exit(f"lazy.py: {program} {' '.join(map(str, args))}: {r.stderr.strip()}")
    return r.stdout


def labels(a, plan):
    return re.findall(r"^- node: (.*)\n  use: (.*)$", tool(a, "fluidvm", "dump", plan, "--pins"), re.M)


def compare(a, model, folder):
    name = os.path.basename(model).removesuffix(".onnx")
    dims = [x for d in a.dim for x in ("--dim", d)]
    plans = {}
    for i, (way, options) in enumerate(WAYS):
        db = f"{folder}/{i}.sqlite"
        out = tool(a, "fluidvm", "profile", model, "--db", db, "--threads", a.threads, "--json", "--quiet", *options, *dims)
        done = json.loads(out.strip().splitlines()[-1])
        print(f"{name}: {way}: {done['labels_measured']} of {done['labels_total']} labels, {done['samples']} samples, "
              f"{done['seconds']:.1f} s, prior off by {100 * done['prior']['median_error']:.0f} % "
              f"(one in ten by {100 * done['prior']['p90_error']:.0f} %)", flush=True)
        for t in a.threads.split(","):
            plans[t, i] = f"{folder}/{i}.{t}.plan"
            tool(a, "fluidvm", "plan", model, "--db", db, "--threads", t, "-o", plans[t, i], *dims)
    for t in a.threads.split(","):
        least = [float("inf")] * len(WAYS)
        for _ in range(a.rounds):
            for i in range(len(WAYS)):
                ms = json.loads(tool(a, "fluidvm", "bench", plans[t, i], "--json", "--threads", t))["min_ms"]
                least[i] = min(least[i], ms)
        one, two = labels(a, plans[t, 0]), labels(a, plans[t, 1])
        same = len(set(one) & set(two)) / max(len(one), 1)
        print(f"{name}: {t} threads: lazy {least[0]:.3f} ms, again {least[1]:.3f}, exhaustive {least[2]:.3f}; "
              f"lazy / exhaustive {least[0] / least[2]:.4f}, again / lazy {least[1] / least[0]:.4f}, "
              f"{100 * same:.0f} % equal labels", flush=True)


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
