#!/usr/bin/env python3
"""Plans by all policies, their predicted and measured latencies and arenas. Called by scripts/bench-policies.

Of each model and number of threads the plans run in turn (A B C D, B C D A, ...), each time in a process of its own, so
that a drift of the machine's speed hits all of them; the least latency counts.

  policies.py --build DIR [--out FILE] [--db FILE] [--threads 1,2] [--rounds N] MODEL.onnx ...
"""
import argparse, datetime, json, os, platform, re, statistics, subprocess, sys, tempfile

ALONE = "exact, no chains"  # programs that run two nodes are ours alone: what is planned without them
POLICIES = ["exact", ALONE, "greedy", "none", "fluidml"]
NO_CHAINS = '- {node: "*", avoid: "chain_*"}\n'
PUBLISHED = {"latency": 25.38, "memory": 41.47}  # arXiv 2411.09242: up to so many per cent below its baselines
SLICE_NS = 3e8  # of one plan in a round, about
HEAD = """# Policies of planning compared

{machine}; {date}. fp32, batch 1; {rounds} interleaved rounds of about {slice:.1f} s a plan, of which the least latency
counts. Made by `scripts/bench-policies`; what the policies are: [../policies.md](../policies.md). All plans are of the
same labels with the same measured costs, and run by the same executor, but for chains: programs that run two nodes, which
only `exact` chooses. *{alone}* is that without them.
"""


def machine():
    with open("/proc/cpuinfo") as f:
        name = re.search(r"model name\s*:\s*(.*)", f.read())
    return f"{name.group(1) if name else platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}"


def run(*command):
    r = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if r.returncode:
        sys.exit(f"policies: {' '.join(command)}: exit status {r.returncode}")
    return r.stdout


def database(a, model, name):
    db = a.db.replace("%s", name)
    if not os.path.exists(db):
        run(a.build + "/fluidvm", "profile", model, "--exhaustive", "--db", db, "--threads", a.threads)
    return db


def measure(a, model, threads, folder):
    """By policy: predicted and least measured ms, arena in KiB."""
    name = os.path.basename(model).removesuffix(".onnx")
    db, rows, pins = database(a, model, name), {}, folder + "/pins"
    with open(pins, "w") as f:
        f.write(NO_CHAINS)
    for p in POLICIES:
        plan, how = f"{folder}/{p}", ["--pin", pins] if p == ALONE else ["--policy", p]
        j = json.loads(run(a.build + "/fluidvm", "plan", model, "--db", db, "--threads", str(threads), *how, "-o", plan,
                           "--json", "-q"))
        rows[p] = {"plan": plan, "predicted": j["predicted_ns"] / 1e6, "arena": j["arena_bytes"] / 1024, "ns": []}
    for i in range(a.rounds):
        for p in POLICIES[i % len(POLICIES):] + POLICIES[:i % len(POLICIES)]:
            r = rows[p]
            n = max(3, int(SLICE_NS / 1e6 / r["predicted"]))
            out = run(a.build + "/fvmrun", r["plan"], "--threads", str(threads), "--bench", str(n))
            r["ns"] += [int(x) for x in out.split()]
    for r in rows.values():
        r["measured"] = min(r["ns"]) / 1e6
    print(f"{name} on {threads}: " + "; ".join(
        f"{p} {r['predicted']:.3f} ms, measured {r['measured']:.3f}, {r['arena']:.0f} KiB" for p, r in rows.items()),
        file=sys.stderr)
    return name, threads, rows


def table(head, rows):
    lines = [head, ["---"] * 2 + ["--:"] * (len(head) - 2)] + rows
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def less(rows, key, than):
    """By how many per cent ours is below another's."""
    return 100 * (1 - rows["exact"][key] / rows[than][key])


def report(a, all_rows):
    out = [HEAD.format(machine=machine(), date=datetime.date.today(), rounds=a.rounds, slice=SLICE_NS / 1e9,
                       alone=ALONE)]
    for key, title, digits in (("predicted", "Predicted latency, ms", 3), ("measured", "Measured latency, ms", 3),
                               ("arena", "Arena, KiB", 0)):
        out += [f"## {title}\n", table(["model", "threads", *POLICIES], [
            [name, str(n)] + [f"{rows[p][key]:.{digits}f}" for p in POLICIES] for name, n, rows in all_rows])]
    out += ["## Ours below theirs, %\n", table(
        ["model", "threads", "none: predicted", "none: measured", "none: arena", "fluidml: predicted", "fluidml: measured",
         "fluidml: arena"],
        [[name, str(n)] + [f"{less(rows, k, p):.1f}" for p in ("none", "fluidml") for k in ("predicted", "measured", "arena")]
         for name, n, rows in all_rows])]
    head = ["", "", "most", "median", "FluidML's own, most"]
    lines = []
    for p in ("none", "fluidml"):
        for key, what in (("measured", "latency"), ("arena", "memory")):
            x = [less(rows, key, p) for _, _, rows in all_rows]
            theirs = f"{PUBLISHED[what]:.2f}" if p == "none" else ""
            lines.append([f"against {p}", what, f"{max(x):.2f}", f"{statistics.median(x):.2f}", theirs])
    out += ["## Together\n", table(head, lines)]
    worse = [f"{name} on {n}: {p}" for name, n, rows in all_rows for p in POLICIES[2:]
             if rows[p]["predicted"] < rows["exact"]["predicted"] or rows[p]["arena"] < rows["exact"]["arena"]]
    out.append("Predicted faster or in a smaller arena than ours: " + ("; ".join(worse) if worse else "none of them, of no model")
               + ".\n")
    return "\n".join(out)


def main():
    q = argparse.ArgumentParser()
    q.add_argument("--build", required=True)
    q.add_argument("--out", default="docs/bench/policies.md")
    q.add_argument("--db", default="%s.sqlite")
    q.add_argument("--threads", default="1,2")
    q.add_argument("--rounds", type=int, default=5)
    q.add_argument("model", nargs="+")
    a = q.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(a, m, int(t), folder) for m in a.model for t in a.threads.split(",")]
    text = report(a, rows)
    with open(a.out, "w", encoding="utf-8") as f:
        f.write(text)
    print(text)


if __name__ == "__main__":
    main()
