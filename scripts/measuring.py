#!/usr/bin/env python3
"""Evidence for what is said of measuring. Called by scripts/bench-measuring.

  measuring.py --build DIR [--parts LIST] [--threads 1,2] [--rounds N] [--trials N] [--kills N] [--seed N] [--out FILE] MODEL
"""
import argparse, contextlib, datetime, os, random, shutil, signal, sqlite3, sys, tempfile, time
from bench import call, interleave, machine, profile, ratios, share_equal, table, tool

HERE = os.path.dirname(os.path.abspath(__file__))
BUSY_MS, IDLE_MS = (50, 300), (100, 500)
LEAST_LOAD = 0.1  # of a core; it asks for 0.37, and shares that core with what is measured
LAYERS = 6, 24
KILL_S = 1.2  # at most so long after the start
BERT = ["--layers", "4", "--hidden", "768", "--inner", "3072"]  # widths of bert-base, and weights that fill no cache
HEAD = """# What measuring shows

{machine}; {date}, load {load:.2f} at the start. Model {model}, threads {threads}. Made by `scripts/bench-measuring`; how
measuring works: [../measuring.md](../measuring.md). Latencies are of plans run in {rounds} interleaved rounds, of which
the ratio of minima is meant, with that of medians behind it.
"""


class Report:
    """Lines of the table: what, how much, the goal, whether it holds (None: no goal), in parts."""

    def __init__(self):
        self.rows, self.part = [], ""

    def add(self, what, figure, goal="", holds=None):
        verdict = "" if holds is None else "holds" if holds else "MISSED"
        self.rows.append([self.part, what, figure, goal, verdict])
        print(f"{self.part}: {what}: {figure}" + (f" (goal {goal}: {verdict})" if goal else ""), flush=True)


def said(done):
    return (f"{done['seconds']:.2f} s ({done['raced_seconds']:.2f} in races, {done['reference_seconds']:.2f} for outputs by "
            f"the reference), {done['problems']} problems, {done['labels_measured']} of {done['labels_total']} labels, "
            f"{done['samples']} samples")


def rows(db, sql):
    with contextlib.closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as c:
        return c.execute(sql).fetchall()


def states(db):
    return ", ".join(x for x, in rows(db, "SELECT DISTINCT state FROM run ORDER BY state"))


def encoder(path, *options):
    call(sys.executable, HERE + "/mkencoder.py", *options, path)
    return path


def decoder(path, layers):
    call(sys.executable, HERE + "/mkdecoder.py", "--layers", layers, path)
    return path


def plan(a, model, db, threads, path):
    tool(a, "fluidvm", "plan", model, "--db", db, "--threads", threads, "-o", path, "--quiet")
    return path


def in_percent(least, median):
    return f"{100 * (least - 1):+.2f} % ({100 * (median - 1):+.2f})"


# ---- growth and reuse ----

def growth(a, folder, report):
    """Models of 6 and 24 equal layers, each from an empty database."""
    few, many = LAYERS
    for kind, make in ("encoder", lambda p, n: encoder(p, "--layers", n)), ("decoder", decoder):
        done = {n: [] for n in LAYERS}
        models = {n: make(f"{folder}/{kind}{n}.onnx", n) for n in LAYERS}
        for trial in range(a.trials):
            for n in LAYERS:
                done[n].append(profile(a, models[n], f"{folder}/{kind}{n}.{trial}.sqlite", "--threads", a.threads))
        least = {n: min(done[n], key=lambda d: d["seconds"]) for n in LAYERS}
        for n in LAYERS:
            report.add(f"{kind} of {n} layers, the fastest of {a.trials}",
                       f"{said(least[n])}; state {states(f'{folder}/{kind}{n}.0.sqlite')}")
        spent = {n: least[n]["seconds"] for n in LAYERS}
        report.add(f"{kind}, {many} layers against {few}: seconds", f"{spent[many] / spent[few]:.3f}", "at most 1.1",
                   spent[many] <= 1.1 * spent[few])
        raced = {n: least[n]["raced_seconds"] for n in LAYERS}
        report.add(f"{kind}, races alone", f"{raced[many] / raced[few]:.3f}")


def stored(db):
    """Samples of each run there is."""
    return {key: n for *key, n in ((p, l, s, e, n + d) for p, l, s, e, n, d in rows(
        db, "SELECT p.hash, label, state, engine, n, dropped FROM run JOIN candidate c ON c.id = candidate "
            "JOIN problem p ON p.id = c.problem")) for key in [tuple(key)]}


def reuse(a, folder, report):
    """A second model in the database of a first: that of 24 layers, and one with an inner width of its own."""
    first, threads = encoder(f"{folder}/first.onnx"), ["--threads", a.threads]
    for what, options in ("24 layers of the same", ["--layers", "24"]), ("half the inner width", ["--inner", "768"]):
        db, second = f"{folder}/{len(options[0])}.sqlite", encoder(f"{folder}/second.onnx", *options)
        one = profile(a, first, db, *threads)
        before = stored(db)
        two = profile(a, second, db, *threads)
        after = stored(db)
        alone = profile(a, second, db + ".alone", *threads)
        again = sum(after.get(key) != n for key, n in before.items())
        report.add("the first model, 6 layers", said(one))
        report.add(f"the second, {what}, in its database", said(two) + f", {two['labels_known']} labels known before")
        report.add("the same from an empty one", said(alone))
        if not before or not two["labels_known"]:
            raise SystemExit("reuse: the models share nothing")
        share = two["samples"] / alone["samples"]
        report.add("samples, of those from an empty one", f"{100 * share:.1f} %", "fewer", share < 1)
        report.add("measurements of the first that were made again, beside new rivals", f"{again} of {len(before)}")


# ---- tuned beside a load ----

def burn(seed):
    """Busy and idle in turn until the parent is gone, on the last of the cores that we may use."""
    rng, parent = random.Random(seed), os.getppid()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    while os.getppid() == parent:
        end = time.monotonic() + rng.uniform(*BUSY_MS) / 1000
        while time.monotonic() < end:
            sum(range(1000))
        time.sleep(rng.uniform(*IDLE_MS) / 1000)


class Bursts:
    """With this: a process of our own that loads a core. cores: how much of one it used."""

    def __init__(self, seed):
        self.seed = seed

    def __enter__(self):
        self.start, self.pid = time.monotonic(), os.fork()
        if self.pid == 0:
            burn(self.seed)
            os._exit(0)
        return self

    def __exit__(self, *failure):
        os.kill(self.pid, signal.SIGKILL)
        _, _, usage = os.wait4(self.pid, 0)
        self.cores = (usage.ru_utime + usage.ru_stime) / (time.monotonic() - self.start)


def bursts(a, folder, report):
    """Profiles in quiet, first and last, and beside bursts in between; then all plans without them."""
    names = ["quiet"] + [f"bursts {k + 1}" for k in range(a.trials)] + ["quiet again"]
    for k, name in enumerate(names):
        db = f"{folder}/{k}.sqlite"
        with Bursts(a.seed + k) if name.startswith("bursts") else contextlib.nullcontext() as load:
            done = profile(a, a.model, db, "--threads", a.threads)
        report.add(f"profile, {name}", said(done) + (f"; {load.cores:.2f} cores of load" if load else ""))
        if load and load.cores < LEAST_LOAD:
            raise SystemExit(f"bursts: the load ran on {load.cores:.2f} cores only")
    for t in a.threads.split(","):
        plans = [plan(a, a.model, f"{folder}/{k}.sqlite", t, f"{folder}/{k}.{t}.plan") for k in range(len(names))]
        same = shutil.copy(plans[0], f"{folder}/same.{t}.plan")
        ns = interleave(a, [*plans, same], t, a.rounds)
        report.add(f"{t} threads: the quiet plan", f"{min(ns[0]) / 1e6:.3f} ms")
        report.add(f"{t} threads: the same plan against itself", in_percent(*ratios(ns[-1], ns[0])))
        for k, name in list(enumerate(names))[1:]:
            least, median = ratios(ns[k], ns[0])
            equal = f", {100 * share_equal(a, plans[0], plans[k]):.0f} % equal labels"
            goal = ("within 2 %", least <= 1.02) if name.startswith("bursts") else ()
            report.add(f"{t} threads: {name}, against quiet", in_percent(least, median) + equal, *goal)
        for p in [*plans, same]:
            os.remove(p)


# ---- killed ----

def kill(a, folder, report):
    """tests/cli/kill.py, which fails unless every database opens, verifies and has lost one round at most; then the plans
    of the runs that nobody killed and of the last one that was, on one thread."""
    out = call(sys.executable, HERE + "/../tests/cli/kill.py", a.build + "/fluidvm", a.model, a.kills, KILL_S, a.seed, "inf",
               folder)
    stat = {what: int(n) for n, what in (line.split(None, 1) for line in out.splitlines())}
    if stat["kills"] != a.kills:
        raise SystemExit(f"kill: {stat['kills']} kills of {a.kills}")
    report.add("kills (-9), after each of which the database opens and is verified", str(stat["kills"]), str(a.kills), True)
    report.add("samples lost in all, at most one round each time", str(stat.get("lost", 0)))
    report.add("databases that were killed and came to their end", str(stat["killed plans"]))
    report.add("plans equal to the byte: twice from a database; before and after a kill without a sample",
               f"{stat['plans equal to the byte twice in a row']}; "
               f"{stat['plans equal to the byte before and after a kill']} (of {stat['samples in them']} samples)", "all", True)
    plans = [plan(a, a.model, f"{folder}/{name}.sqlite", 1, f"{folder}/{name}.plan") for name in ("want", "other", "killed")]
    ns = interleave(a, plans, 1, a.rounds)
    for k, what in (1, "a second run that nobody killed"), (2, "the last one that was killed"):
        report.add(f"plan of {what}, against the first", in_percent(*ratios(ns[k], ns[0]))
                   + f", {100 * share_equal(a, plans[0], plans[k]):.0f} % equal labels")


# ---- what isolation costs ----

def isolation(a, folder, report):
    """The races of a lazy profile on one thread, in workers and in the process itself (tests/bench/bench_isolation.c)."""
    call("make", "-s", "-C", a.build, "tests/bench/bench_isolation")
    out = tool(a, "tests/bench/bench_isolation", a.model, 1, a.trials)
    lines = [line.split() for line in out.splitlines()]
    both = {way: rest for races, way, *rest in (x for x in lines if len(x) == 7) if races == "both"}
    if set(both) != {"worker", "direct", "bare"}:
        raise SystemExit(f"isolation: unexpected output: {out}")
    report.add("races of a lazy profile on one thread", out.splitlines()[0])
    for way, what in (("worker", "in workers"), ("direct", "in the process"), ("bare", "there, without guard pages")):
        seconds, samples, _, dropped, ratio = both[way]
        report.add(what, f"{seconds} s, {samples} samples, {dropped} dropped")
        if way != "worker":
            cost = 100 * (float(ratio) - 1)
            report.add(f"workers cost, beyond that {what}", f"{cost:.1f} %", "below 5 %", cost < 5)


# ---- the rate ----

def rate(a, folder, report):
    """The products of bert-base's layers, exhaustively: labels of products alone over seconds of races."""
    model, db = encoder(f"{folder}/products.onnx", *BERT, "--products"), f"{folder}/products.sqlite"
    done = profile(a, model, db, "--exhaustive", "--threads", a.threads)
    labels, samples = rows(db, "SELECT COUNT(DISTINCT c.id), SUM(n + dropped) FROM run JOIN candidate c ON c.id = candidate "
                               "JOIN problem p ON p.id = c.problem WHERE op = 'MatMul' AND n > 0")[0]
    report.add("products of bert-base's layers", said(done) + f", {done['failed']} failed; state {states(db)}")
    if not labels:
        raise SystemExit("rate: nothing was measured")
    a_second = labels / done["raced_seconds"]
    report.add("variants of products measured a second", f"{a_second:.1f}", "at least 50", a_second >= 50)
    report.add("the same over all seconds of the command", f"{labels / done['seconds']:.1f}")
    report.add("samples a second", f"{samples / done['raced_seconds']:.0f}")


PARTS = {f.__name__: f for f in (growth, reuse, bursts, kill, isolation, rate)}


def run_parts(a, report):
    """Seconds of each part, and those that failed."""
    seconds, failed = [], []
    for name in a.parts.split(","):
        start, report.part = time.monotonic(), name
        try:
            with tempfile.TemporaryDirectory() as folder:
                PARTS[name](a, folder, report)
        except (SystemExit, OSError, ValueError, KeyError, sqlite3.Error) as e:
            failed.append(name)
            print(f"measuring: {name}: {type(e).__name__}: {e}", file=sys.stderr)
            report.add("did not run to its end", str(e).replace("\n", " ").replace("|", "/")[:200])
        seconds.append([name, f"{time.monotonic() - start:.0f}"])
        print(f"{name}: took {seconds[-1][1]} s", flush=True)
    return seconds, failed


def options():
    q = argparse.ArgumentParser(allow_abbrev=False)
    q.add_argument("--build", required=True)
    q.add_argument("--parts", default=",".join(PARTS))
    q.add_argument("--threads", default="1,2")
    for name, default in (("rounds", 10), ("trials", 3), ("kills", 100), ("seed", 1)):
        q.add_argument(f"--{name}", type=int, default=default)
    q.add_argument("--out", default="docs/bench/measuring.md")
    q.add_argument("model")
    a = q.parse_args()
    unknown = set(a.parts.split(",")) - set(PARTS)
    if unknown:
        q.error(f"there is no part {', '.join(sorted(unknown))}; parts: {', '.join(PARTS)}")
    if min(a.rounds, a.trials, a.kills) < 1:
        q.error("--rounds, --trials and --kills are at least 1")
    return a


def main():
    a, report = options(), Report()
    head = HEAD.format(machine=machine(), date=datetime.date.today(), load=os.getloadavg()[0], threads=a.threads,
                       model=os.path.basename(a.model), rounds=a.rounds)
    seconds, failed = run_parts(a, report)
    text = "\n".join([head, table(["part", "what", "measured", "goal", ""], report.rows, left=5),
                      table(["part", "seconds"], seconds, left=1)])
    with open(a.out, "w", encoding="utf-8") as f:
        f.write(text)
    if failed:
        sys.exit(f"measuring: did not run to its end: {', '.join(failed)}")


if __name__ == "__main__":
    main()
