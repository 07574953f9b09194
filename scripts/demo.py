#!/usr/bin/env python3
"""What scripts/demo shows: sentences embedded by a plan, their similarity, and how fast it was.

  demo.py BUILD MODEL TOKENIZER DB [--golden FILE] [--write-golden FILE]
"""
import argparse, json, os, statistics, subprocess, sys, tempfile, time
import numpy as np

SENTENCES = ["A cat sleeps on the warm windowsill.",
             "The kitten naps in the sun.",
             "Our train to Berlin leaves at nine.",
             "When does the express to Berlin depart?",
             "Matrix products dominate the run time."]
LENGTH = 128


def tokenise(path):
    from tokenizers import Tokenizer
    t = Tokenizer.from_file(path)
    t.enable_truncation(LENGTH)
    t.enable_padding(length=LENGTH)
    for s in SENTENCES:
        e = t.encode(s)
        yield {"input_ids": np.array([e.ids], np.int64), "attention_mask": np.array([e.attention_mask], np.int64),
               "token_type_ids": np.array([e.type_ids], np.int64)}


def embed(build, plan, feeds, folder):
    args = []
    for k, v in feeds.items():
        np.save(f"{folder}/{k}.npy", v)
        args += ["--input", f"{k}={folder}/{k}.npy"]
    subprocess.run([f"{build}/fvmrun", plan, "--output", folder] + args, check=True, stdout=subprocess.DEVNULL)
    out = next(f for f in os.listdir(folder) if f.endswith(".npy") and f[:-4] not in feeds)
    return np.load(f"{folder}/{out}")[0]


def bench(build, plan, n):
    out = subprocess.run([f"{build}/fvmrun", plan, "--bench", str(n)], check=True, capture_output=True, text=True).stdout
    return [int(x) / 1e6 for x in out.split()]


def onnxruntime(model, threads):
    """A function that runs it once, and the outputs for all sentences; None when it is not installed."""
    try:
        import onnxruntime as ort
    except ImportError:
        return None
    o = ort.SessionOptions()
    o.intra_op_num_threads, o.inter_op_num_threads = threads, 1
    start = time.time()
    s = ort.InferenceSession(model, o, providers=["CPUExecutionProvider"])
    return s, time.time() - start


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build"); p.add_argument("model"); p.add_argument("tokenizer"); p.add_argument("db")
    p.add_argument("--golden"); p.add_argument("--write-golden")
    a = p.parse_args()
    feeds = list(tokenise(a.tokenizer))
    if a.write_golden:
        s, _ = onnxruntime(a.model, 1)
        np.save(a.write_golden, np.concatenate([s.run(None, f)[0] for f in feeds]))
        return 0
    right = True
    with tempfile.TemporaryDirectory() as d:
        plans = {}
        for threads in (1, 2):
            plan = f"{d}/{threads}.plan"
            r = subprocess.run([f"{a.build}/fluidvm", "plan", a.model, "--db", a.db, "-o", plan, "--threads", str(threads),
                                "--json"], check=True, capture_output=True, text=True)
            plans[threads] = plan, json.loads(r.stdout)
        e = np.array([embed(a.build, plans[1][0], f, d) for f in feeds])
        e = e / np.linalg.norm(e, axis=1, keepdims=True)
        print("\nsimilarity of the sentences (cosine)")
        for i, s in enumerate(SENTENCES):
            print("  " + " ".join(f"{x:5.2f}" for x in e[i] @ e.T) + "   " + s)
        if a.golden:
            want = np.load(a.golden)
            want = want / np.linalg.norm(want, axis=1, keepdims=True)
            err = float(np.max(np.abs(e - want)) / np.max(np.abs(want)))
            right = err <= 1e-4
            print(f"\n{'right' if right else 'WRONG'}: largest difference to ONNX Runtime's stored embeddings {err:.1e} of the largest value")
        print("\nthreads  plan ms  status   predicted ms  measured ms (min / median)  arena / bound KiB   weights MiB")
        for threads, (plan, j) in plans.items():
            t = bench(a.build, plan, 60)
            print(f"{threads:7}  {1e3 * j['plan_seconds']:7.1f}  {j['status']:8} {j['predicted_ns'] / 1e6:12.2f}  {min(t):11.2f} / {statistics.median(t):.2f}"
                  f"        {j['arena_bytes'] / 1024:12.0f} / {j['arena_bound_bytes'] / 1024:.0f}   {j['weight_bytes'] / 2**20:10.1f}")
            ort = onnxruntime(a.model, threads)
            if ort:
                s, load = ort
                ours, theirs = [], []
                for _ in range(4):  # in turn, so that a drift of the machine's speed hits both
                    ours += bench(a.build, plan, 15)
                    for _ in range(15):
                        start = time.perf_counter_ns()
                        s.run(None, feeds[0])
                        theirs.append((time.perf_counter_ns() - start) / 1e6)
                del s
                print(f"         in turn with ONNX Runtime: ours {min(ours):.2f} / {statistics.median(ours):.2f}, ONNX Runtime "
                      f"{min(theirs):.2f} / {statistics.median(theirs):.2f} ms (load {load:.2f} s); ratio of the minima {min(ours) / min(theirs):.2f}")
    return not right


if __name__ == "__main__":
    sys.exit(main())
