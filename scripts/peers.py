#!/usr/bin/env python3
"""FluidVM and its peers side by side on the same models, inputs and threads. Called by scripts/bench-peers.

Each peer is a child process that holds the model; FluidVM is a fvmrun that is started afresh each round. Rounds are
interleaved (A B C, A B C, ...), so that a drift of the machine's speed hits all of them. Of each engine: the least and
the median latency, the time from opening the model to the first output (of fvmrun: of the whole process), the peak of
resident memory (of a peer: above what the process held before; of fvmrun: of the whole process), and the largest
difference of any output to the first engine's over that output's largest value. Inputs are made from a fixed seed.

  peers.py --build DIR --out DIR MODEL.onnx[=PLAN] ...
"""
import argparse, datetime, importlib.metadata, json, os, queue, re, statistics, subprocess, sys, tempfile, threading, time

ENGINES = {"ort": ("ONNX Runtime", "onnxruntime"), "openvino": ("OpenVINO", "openvino"), "mnn": ("MNN", "MNN")}
OURS, SMALL = "fluidvm", "fluidvm-small"
SLICE_NS = 5e8  # inferences of one engine in a round, about
OPEN_S, ROUND_S = 900, 300  # when an engine is given up


class Failed(Exception):
    pass


# ---- in the child: one peer with one model ----


def status_mib(field, pid="self"):
    with open(f"/proc/{pid}/status") as f:
        hit = re.search(field + r":\s+(\d+)", f.read())
    return int(hit.group(1)) / 1024 if hit else 0.0


def make_inputs(path, dims):
    import numpy as np, onnx

    m = onnx.load(path, load_external_data=False)
    have, r, out = {i.name for i in m.graph.initializer}, np.random.default_rng(0), {}
    for v in m.graph.input:
        if v.name in have:
            continue
        t = v.type.tensor_type
        shape = [d.dim_value or dims.get(d.dim_param, dims.get("*", 1)) for d in t.shape.dim]
        kind = onnx.helper.tensor_dtype_to_np_dtype(t.elem_type)
        if "mask" in v.name:
            out[v.name] = np.ones(shape, kind)
        elif "type" in v.name:
            out[v.name] = np.zeros(shape, kind)
        elif np.issubdtype(kind, np.integer):
            out[v.name] = r.integers(0, 1000, shape).astype(kind)
        else:
            out[v.name] = r.standard_normal(shape).astype(kind)
    return out, [v.name for v in m.graph.output]


def open_ort(path, n, inputs, outputs):
    import onnxruntime as ort

    ort.set_default_logger_severity(4)
    o = ort.SessionOptions()
    o.intra_op_num_threads, o.inter_op_num_threads = n, 1
    s = ort.InferenceSession(path, o, providers=["CPUExecutionProvider"])
    return lambda: s.run(outputs, inputs)


def open_openvino(path, n, inputs, outputs):
    import openvino as ov

    core = ov.Core()
    m = core.read_model(path)
    m.reshape({k: list(v.shape) for k, v in inputs.items()})
    hints = {"INFERENCE_NUM_THREADS": n, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    q = core.compile_model(m, "CPU", hints).create_infer_request()

    def go():
        q.infer(inputs)
        return [q.get_tensor(name).data for name in outputs]

    return go


def prepare_mnn(path, folder):
    """Into MNN's own format, by the converter itself. Its command mnnconvert would also install an SDK with whatever pip
    is on the PATH, outside of our environment, and report the machine's id and the model's to a server."""
    to = folder + "/model.mnn"
    code = "import sys, _tools; _tools.mnnconvert(['mnnconvert'] + sys.argv[1:])"
    r = subprocess.run([sys.executable, "-c", code, "-f", "ONNX", "--modelFile", path, "--MNNModel", to, "--bizCode", "x"],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if r.returncode == 0 and os.path.exists(to):
        return to
    lines = r.stdout.strip().splitlines()
    said = [x for x in lines if re.search(r"not support|can't|error", x, re.I)] or lines[-1:]
    raise Failed("conversion: " + (re.sub(r"^\[[\d:]+\] :\d+: ", "", said[-1]) if said else f"exit status {r.returncode}"))


def open_mnn(path, n, inputs, outputs):
    import MNN, numpy as np

    runtime = MNN.nn.create_runtime_manager(({"backend": "CPU", "numThread": n, "precision": "high"},))
    net = MNN.nn.load_module_from_file(path, list(inputs), outputs, runtime_manager=runtime)
    f = MNN.expr

    def variable(a):
        a = a.astype(np.int32) if a.dtype == np.int64 else a
        return f.const(a.copy(), list(a.shape), f.NCHW, f.int if a.dtype == np.int32 else f.float)

    given = [variable(a) for a in inputs.values()]
    return lambda: [y.read().copy() for y in net.forward(given)]


def worker(engine, path, n, dims):
    """Say {"ready"} after the first inference, then answer each number k on stdin with k latencies."""
    import numpy as np

    os.environ["OMP_NUM_THREADS"] = str(n)
    sys.stdout = os.fdopen(os.dup(1), "w")  # ours; what libraries print goes to stderr
    os.dup2(2, 1)
    inputs, outputs = make_inputs(path, dims)
    prepare = globals().get("prepare_" + engine, lambda given, _: given)
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = prepare(path, folder)  # once and for all, so no part of loading
            before, start = status_mib("VmRSS"), time.time()
            go = globals()["open_" + engine](path, n, inputs, outputs)
            y = go()
            load = time.time() - start
    except Exception as e:  # whatever a peer raises is its result
        print(json.dumps({"error": f"{type(e).__name__}: {e}" if not isinstance(e, Failed) else str(e)}), flush=True)
        return
    file = os.path.join(tempfile.mkdtemp(), "y.npz")
    np.savez(file, **{str(i): np.asarray(a) for i, a in enumerate(y)})
    print(json.dumps({"ready": load, "outputs": file}), flush=True)
    for line in sys.stdin:
        ns = []
        for _ in range(int(line)):
            t = time.perf_counter_ns()
            go()
            ns.append(time.perf_counter_ns() - t)
        print(json.dumps({"ns": ns, "peak": status_mib("VmHWM") - before}), flush=True)


# ---- in the parent: engines under measurement ----


class Peer:
    def __init__(self, engine, path, threads, dims):
        self.name, self.ns, self.peak, self.error, self.per = engine, [], 0.0, None, 3
        cmd = [sys.executable, os.path.abspath(__file__), path, "--worker", engine, "--threads", str(threads)]
        for k, v in dims.items():
            cmd += ["--dim", f"{k}={v}"]
        self.err = tempfile.TemporaryFile("w+")
        # No peer installs anything, wherever it may try to.
        env = {**os.environ, "PIP_NO_INDEX": "1", "PIP_REQUIRE_VIRTUALENV": "1"}
        self.child = subprocess.Popen(cmd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.err, text=True, env=env)
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()
        r = self.answer(OPEN_S)
        self.load, self.file = r["ready"], r["outputs"]

    def read(self):
        for line in self.child.stdout:
            self.lines.put(line)
        self.lines.put("")

    def answer(self, seconds):
        try:
            line = self.lines.get(timeout=seconds)
        except queue.Empty:
            self.close()
            raise Failed(f"no answer in {seconds} s")
        if line:
            r = json.loads(line)
            if "error" in r:
                raise Failed(r["error"])
            return r
        status = self.child.wait()
        self.err.seek(0)
        said = self.err.read().strip().splitlines()[-1:] or [""]
        raise Failed(f"ended by signal {-status} {said[0]}" if status < 0 else f"exit status {status}: {said[0]}")

    def outputs(self):
        import numpy as np

        with np.load(self.file) as z:
            y = [z[str(i)] for i in range(len(z.files))]
        os.unlink(self.file)
        os.rmdir(os.path.dirname(self.file))
        return y

    def round(self):
        self.child.stdin.write(f"{self.per}\n")
        self.child.stdin.flush()
        r = self.answer(ROUND_S)
        self.peak = max(self.peak, r["peak"])
        return r["ns"]

    def close(self):
        self.child.stdin.close()
        try:
            self.child.wait(20)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


def watch_memory(pid, peak):
    """Poll a process's own high-water mark: ru_maxrss would include the parent's memory at the fork."""
    try:
        while True:
            mib = status_mib("VmHWM", pid)
            if not mib:
                return
            peak[0] = max(peak[0], mib)
            time.sleep(0.002)
    except OSError:
        return


class Ours:
    """fvmrun on a plan, a process a round."""

    def __init__(self, name, fvmrun, plan, threads, folder, inputs, names):
        import numpy as np

        os.makedirs(folder)
        self.name, self.ns, self.peak, self.error, self.per = name, [], 0.0, None, 3
        self.cmd, self.names = [fvmrun, plan, "--threads", str(threads)], names
        for i, (k, v) in enumerate(inputs.items()):
            np.save(f"{folder}/in{i}.npy", v)
            self.cmd += ["--input", f"{k}={folder}/in{i}.npy"]
        self.folder, self.load = folder, 0.0
        self.run(["--output", folder + "/out"])
        self.load = min(self.timed() for _ in range(3))

    def run(self, more):
        p = subprocess.Popen(self.cmd + more, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        peak = [self.peak]
        watch = threading.Thread(target=watch_memory, args=(p.pid, peak))
        watch.start()
        try:
            out, err = p.communicate(timeout=ROUND_S)
        except subprocess.TimeoutExpired:
            p.kill()
            raise Failed(f"no answer in {ROUND_S} s")
        watch.join()
        self.peak = peak[0]
        if p.returncode:
            raise Failed((err.strip().splitlines() or [f"exit status {p.returncode}"])[-1])
        return out

    def timed(self):
        t = time.time()
        self.run([])
        return time.time() - t

    def outputs(self):
        import numpy as np

        return [np.load(f"{self.folder}/out/{re.sub(r'[^A-Za-z0-9._-]', '_', n)}.npy") for n in self.names]

    def round(self):
        return [int(x) for x in self.run(["--bench", str(self.per)]).split()]

    def close(self):
        pass


def difference(y, ref):
    import numpy as np

    worst = 0.0
    for a, b in zip(y, ref):
        if a.shape != b.shape:
            return float("nan")
        if b.size:
            scale = float(np.max(np.abs(b.astype(np.float64)))) or 1e-30
            worst = max(worst, float(np.max(np.abs(a.astype(np.float64) - b))) / scale)
    return worst if len(y) == len(ref) else float("nan")


def attempt(engine, what, *args):
    """A call of an engine; what it raises is its result. None when it failed before or now."""
    if engine.error:
        return None
    try:
        return what(*args)
    except (Failed, OSError, ValueError) as e:
        engine.error = " ".join(str(e).split())[:200]
        return None


class Absent:
    """What is left of an engine that didn't open."""

    def __init__(self, name, error):
        self.name, self.ns, self.peak, self.load = name, [], 0.0, 0.0
        self.error = " ".join(str(error).split())[:200]

    def close(self):
        pass


def open_engine(name, make):
    try:
        return make()
    except (Failed, OSError) as e:
        return Absent(name, e)


def measure(a, model, plans, threads, dims):
    """All engines on one model with that many threads. plans: what makes the plan of each form of ours, by name."""
    with tempfile.TemporaryDirectory() as folder:
        inputs, names = make_inputs(model, dims)
        engines = [open_engine(e, lambda e=e: Peer(e, model, threads, dims)) for e in a.engines]
        engines += [open_engine(e, lambda e=e, plan=plan: Ours(e, a.build + "/fvmrun", plan(), threads, f"{folder}/{e}", inputs,
                                                              names)) for e, plan in plans.items()]
        ref, errors = None, {}
        for e in engines:
            y = attempt(e, e.outputs) if not e.error else None
            if y is not None:
                ref = y if ref is None else ref
                errors[e.name] = difference(y, ref)
        for r in range(a.rounds + 1):  # the first one finds how many inferences fill a round
            for e in engines:
                ns = attempt(e, e.round) if not e.error else None
                if ns and r:
                    e.ns += ns
                elif ns:
                    e.per = a.per_round or max(3, min(200, int(SLICE_NS / statistics.median(ns))))
                time.sleep(0.05)
        for e in engines:
            e.close()
    return {e.name: {"error": e.error or "no samples"} if e.error or not e.ns else
            {"min_ms": min(e.ns) / 1e6, "median_ms": statistics.median(e.ns) / 1e6, "n": len(e.ns), "load_s": e.load,
             "peak_mib": e.peak, "difference": errors.get(e.name)} for e in engines}


# ---- plans ----


def tool(a, *args):
    r = subprocess.run([a.build + "/fluidvm", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if r.returncode:
        raise Failed((r.stderr.strip().splitlines() or [f"exit status {r.returncode}"])[-1])
    return r.stdout


def dim_args(dims):
    return [x for k, v in dims.items() for x in ("--dim", f"{k}={v}")]


def make_plan(a, model, threads, dims, folder, memory=None):
    """Profile, which resumes where an earlier run ended, and plan."""
    plan = f"{folder}/{os.path.basename(model)}.{threads}.{memory}.plan"
    db = a.db.replace("%s", os.path.basename(model).removesuffix(".onnx"))
    every = ["--exhaustive"] if a.memory else []  # plans within limits use labels that the fastest plan does not
    tool(a, "profile", model, *every, "--db", db, "--threads", ",".join(map(str, a.threads)), "--quiet", *dim_args(dims))
    tool(a, "plan", model, "--db", db, "--threads", str(threads), "-o", plan, *dim_args(dims), *a.plan_options.split(),
         *(["--memory", memory] if memory else []))
    return plan


def bound(a, model, plan, dims):
    """Multiply-adds and weights of the model, peak and bandwidth measured just now; None if unknown."""
    try:
        r = json.loads(tool(a, "explain", plan, "--model", model, "--json", "--runs", "1", *dim_args(dims)))
        return {k: r[k] for k in ("flops", "weight_bytes", "peak_gflops", "read_gbytes")}
    except (Failed, ValueError, KeyError):
        return None


# ---- the machine ----


def machine():
    with open("/proc/cpuinfo") as f:
        text = f.read()
    model = re.search(r"model name\s*:\s*(.*)", text)
    flags = set((re.search(r"(?:flags|Features)\s*:\s*(.*)", text) or ["", ""])[1].split())
    isa = next((n for f, n in (("avx512f", "AVX-512"), ("avx2", "AVX2"), ("asimd", "NEON")) if f in flags), "")
    with open("/proc/meminfo") as f:
        gib = int(re.search(r"MemTotal:\s+(\d+)", f.read()).group(1)) / 1048576
    return {"cpu": model.group(1).strip() if model else os.uname().machine, "cores": len(os.sched_getaffinity(0)),
            "isa": isa, "memory_gib": round(gib), "system": f"{os.uname().sysname} {os.uname().release.split('-')[0]}",
            "load": round(os.getloadavg()[0], 2)}


def measure_row(a, model, given, name, threads, dims, folder, memory):
    made = []

    def plan():
        made.append(given or make_plan(a, model, threads, dims, folder))
        return made[0]

    plans = {OURS: plan}
    if memory:
        plans[SMALL] = lambda: make_plan(a, model, threads, dims, folder, memory)
    row = {"model": name, "threads": threads, "engines": measure(a, model, plans, threads, dims)}
    row["bound"] = bound(a, model, made[0], dims) if made else None
    return row


def version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("models", nargs="+", metavar="MODEL.onnx[=PLAN]")
    p.add_argument("--build", default="build", help="folder with fluidvm and fvmrun")
    p.add_argument("--engines", default="ort,openvino,mnn", help="of " + ", ".join(ENGINES))
    p.add_argument("--threads", default="1,2")
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--per-round", type=int, default=0, help="inferences a round; 0: about 0.5 s of them")
    p.add_argument("--dim", action="append", default=[], help="NAME=SIZE of a symbolic dimension; *=SIZE for all others")
    p.add_argument("--db", default="device.sqlite", help="measurements of FluidVM; those that are there count. %%s: the model's name")
    p.add_argument("--memory", default="", help="NAME=SIZE,...: of these models also a plan within so many bytes")
    p.add_argument("--plan-options", default="", help="more options for `fluidvm plan`, as one argument")
    p.add_argument("--out", default="docs/bench", help="folder for results.json, results.md, results.svg")
    p.add_argument("--worker", help=argparse.SUPPRESS)
    a = p.parse_args()
    dims = {k: int(v) for k, v in (d.rsplit("=", 1) for d in a.dim)}
    if a.worker:
        return worker(a.worker, a.models[0], int(a.threads), dims)
    a.engines, a.threads = [e for e in a.engines.split(",") if e], [int(t) for t in a.threads.split(",")]
    small = dict(m.split("=", 1) for m in a.memory.split(",") if "=" in m)
    unknown = [e for e in a.engines if e not in ENGINES]
    if unknown:
        sys.exit(f"peers.py: no engine is called {unknown[0]}; there are {', '.join(ENGINES)}")
    ours = {OURS: {"name": "FluidVM", "version": ""}}
    if small:
        ours[SMALL] = {"name": "FluidVM, less memory", "version": ""}
    result = {"date": datetime.date.today().isoformat(), "machine": machine(), "rounds": a.rounds, "rows": [], "memory": small,
              "engines": {**ours, **{e: {"name": ENGINES[e][0], "version": version(ENGINES[e][1])} for e in a.engines}}}
    with tempfile.TemporaryDirectory() as folder:
        for item in a.models:
            model, _, given = item.partition("=")
            name = os.path.basename(model).removesuffix(".onnx")
            for t in a.threads:
                row = measure_row(a, model, given, name, t, dims, folder, small.get(name))
                result["rows"].append(row)
                for e, r in row["engines"].items():
                    say = r.get("error") or (f"min {r['min_ms']:9.3f} ms  median {r['median_ms']:9.3f}  load {r['load_s']:6.2f} s"
                                             f"  peak {r['peak_mib']:7.1f} MiB  difference {r['difference']:.1e}")
                    print(f"{name:16} {t} threads  {e:13} {say}", file=sys.stderr, flush=True)
    import peers_report

    os.makedirs(a.out, exist_ok=True)
    with open(f"{a.out}/results.json", "w") as f:
        json.dump(result, f, indent=1)
        f.write("\n")
    peers_report.write(result, a.out)
    print(f"{a.out}/results.md")


if __name__ == "__main__":
    main()
