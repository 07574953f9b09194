#!/usr/bin/env python3
"""Planning time and memory over the size of a model. Called by scripts/bench-growth.

Each model is planned in a process of its own; of several rounds the one with the least sum counts. Times are what `plan
--json` says of each phase; memory is the process's largest resident set, which counts the model's and the plan's mapped
pages. Writing has its own column: most of it is converting and writing weights, which grows with their bytes.

  growth.py --build DIR [--layers 6,24,96] [--rounds N] [--db FILE] [--threads N]
"""
import argparse, json, os, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
COLUMNS = {  # phases.def
    "read": ["read"], "passes": ["passes"], "costs": ["costs", "menus"], "solve": ["network", "solve"],
    "order": ["order"], "memory": ["memory", "weights"], "programs": ["steps", "verify"], "write": ["write"],
    "check": ["check", "accuracy"]}


def plan(a, model, folder):
    """The report of one run, and its peak in MiB."""
    command = [a.build + "/fluidvm", "plan", model, "-o", folder + "/plan", "--threads", str(a.threads), "--json", "-q"]
    p = subprocess.Popen(command + (["--db", a.db] if a.db else []), stdout=subprocess.PIPE)
    out = p.stdout.read()
    _, status, usage = os.wait4(p.pid, 0)
    p.returncode = os.waitstatus_to_exitcode(status)
    if p.returncode:
        sys.exit(f"growth: {' '.join(command)}: exit status {p.returncode}")
    return json.loads(out), usage.ru_maxrss / 1024


def main():
    q = argparse.ArgumentParser()
    q.add_argument("--build", required=True)
    q.add_argument("--layers", default="6,24,96")
    q.add_argument("--rounds", type=int, default=5)
    q.add_argument("--threads", type=int, default=2)
    q.add_argument("--db")
    a = q.parse_args()
    head = ["layers", "operators", "steps", *COLUMNS, "total", "us/op", "MiB"]
    print(("{:>9}" * len(head)).format(*head))
    with tempfile.TemporaryDirectory() as folder:
        for n in a.layers.split(","):
            model = f"{folder}/{n}.onnx"
            operators = int(subprocess.check_output([sys.executable, HERE + "/mkdecoder.py", "--layers", n, model]))
            runs = [plan(a, model, folder) for _ in range(a.rounds)]
            r, peak = min(runs, key=lambda x: sum(x[0]["seconds"].values()))
            s = [sum(r["seconds"][p] for p in phases) for phases in COLUMNS.values()]
            total = sum(r["seconds"].values())
            print(f"{n:>9}{operators:9}{r['steps']:9.0f}" + "".join(f"{x:9.4f}" for x in s + [total])
                  + f"{1e6 * total / operators:9.1f}{peak:9.1f}")


if __name__ == "__main__":
    main()
