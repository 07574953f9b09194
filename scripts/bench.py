"""What the benchmarks share: calling the programs, running plans in turn, writing tables. a.build: the build folder."""
import json, os, platform, re, statistics, subprocess, sys, time

SLICE_NS = 3e8  # of one plan in a round, about


def call(*command):
    """What a command prints; whoever does not want its failure to be the end catches SystemExit."""
    command = [str(x) for x in command]
    r = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if r.returncode:
        raise SystemExit(f"{os.path.basename(sys.argv[0])}: {' '.join(command)}: status {r.returncode}: {r.stderr.strip()}")
    return r.stdout


def tool(a, program, *args):
    return call(f"{a.build}/{program}", *args)


def profile(a, model, db, *options):
    """The last event of a profile that came to its end, and of its seconds those of races, and those for the model's
    outputs by the reference, which come last."""
    command = [f"{a.build}/fluidvm", "profile", model, "--db", db, "--json", "--quiet", *options]
    done, raced, began = {}, 0.0, None
    with subprocess.Popen([str(x) for x in command], stdout=subprocess.PIPE, text=True) as p:
        for line in p.stdout:
            done, now = json.loads(line), time.monotonic()
            if done["event"] in ("race", "expect"):
                began = now
            elif done["event"] == "problem":
                raced, began = raced + now - began, None
    if p.returncode or done.get("event") != "done" or not done["complete"]:
        raise SystemExit(f"profile {model}: it did not come to its end; status {p.returncode}")
    return done | {"raced_seconds": raced, "reference_seconds": now - began if began else 0.0}


def labels(a, plan):
    """Of each node of a plan, its label."""
    return set(re.findall(r"^- node: (.*)\n  use: (.*)$", tool(a, "fluidvm", "dump", plan, "--pins"), re.M))


def share_equal(a, plan, other):
    one, two = labels(a, plan), labels(a, other)
    return len(one & two) / max(len(one), 1)


def interleave(a, plans, threads, rounds):
    """Of each plan the nanoseconds of its runs. They run in turn (A B C, B C A, ...), each time in a process of its own,
    so that a drift of the machine's speed hits all of them."""
    bench = lambda plan, n: [int(x) for x in tool(a, "fvmrun", plan, "--threads", threads, "--bench", n).split()]
    times = [max(3, int(SLICE_NS / min(bench(p, 3)))) for p in plans]
    ns = [[] for _ in plans]
    for r in range(rounds):
        for k in range(len(plans)):
            i = (r + k) % len(plans)
            ns[i] += bench(plans[i], times[i])
    return ns


def ratios(ns, base):
    """Of minima and of medians."""
    return min(ns) / min(base), statistics.median(ns) / statistics.median(base)


def machine():
    with open("/proc/cpuinfo") as f:
        name = re.search(r"model name\s*:\s*(.*)", f.read())
    return f"{name.group(1) if name else platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}"


def table(head, rows, left=2):
    """Markdown; so many columns from the left hold words."""
    lines = [head, ["---"] * left + ["--:"] * (len(head) - left)] + rows
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
