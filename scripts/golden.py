#!/usr/bin/env python3
"""Whole models against stored outputs of ONNX Runtime (tests/golden/NAME.npy).

  golden.py BUILD NAME ...           plan models/NAME.onnx, run it with fvmrun on 1 and 2 threads, compare
  golden.py --write NAME ...         make the stored outputs anew (needs onnxruntime)
  golden.py --live BUILD NAME ...    compare with ONNX Runtime run here instead of the stored output
  golden.py --db=FILE BUILD NAME ... plan from the measurements in FILE instead of the analytic costs

Inputs are made from the model's declaration: the same on every machine. The largest difference over the
largest output value must be at most 1e-4. Closes with 'N passed, N failed'.
"""
import os, subprocess, sys, tempfile
import numpy as np, onnx

LIMIT = 1e-4
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")


def inputs(path):
    """Seeded inputs by name: ids below 1000, an attention mask with a masked tail, normal floats."""
    m = onnx.load(path, load_external_data=False)
    made = {t.name for t in m.graph.initializer}
    r, out = np.random.Generator(np.random.PCG64(1)), {}
    for v in m.graph.input:
        if v.name in made:
            continue
        shape = [d.dim_value for d in v.type.tensor_type.shape.dim]
        ty = onnx.helper.tensor_dtype_to_np_dtype(v.type.tensor_type.elem_type)
        if "mask" in v.name:
            x = np.ones(shape, ty)
            x[..., shape[-1] * 3 // 4:] = 0
        elif "type" in v.name:
            x = np.zeros(shape, ty)
        elif np.issubdtype(ty, np.integer):
            x = r.integers(0, 1000, shape).astype(ty)
        else:
            x = r.standard_normal(shape, np.float32).astype(ty)
        out[v.name] = x
    return out


def reference(path, feeds):
    import onnxruntime as ort
    o = ort.SessionOptions()
    o.intra_op_num_threads = 2
    return ort.InferenceSession(path, o, providers=["CPUExecutionProvider"]).run(None, feeds)


def ours(build, path, feeds, threads, db, folder):
    plan = os.path.join(folder, "m.plan")
    subprocess.run([f"{build}/fluidvm", "plan", path, "-o", plan, "--threads", str(threads), "--quiet"] + db, check=True,
                   stdout=subprocess.DEVNULL)
    subprocess.run([f"{build}/fluidvm", "check", plan, path], check=True, stdout=subprocess.DEVNULL)
    args = []
    for i, (k, v) in enumerate(feeds.items()):
        np.save(f"{folder}/in{i}.npy", v)
        args += ["--input", f"{k}={folder}/in{i}.npy"]
    out = os.path.join(folder, "out")
    os.makedirs(out, exist_ok=True)
    subprocess.run([f"{build}/fvmrun", plan, "--threads", str(threads), "--output", out] + args, check=True,
                   stdout=subprocess.DEVNULL)
    names = [o.name for o in onnx.load(path, load_external_data=False).graph.output]
    return [np.load(os.path.join(out, "".join(c if c.isalnum() or c in "-._" else "_" for c in n) + ".npy")) for n in names]


def error(got, want):
    """Largest difference over the largest value, the worst of all outputs."""
    if [g.shape for g in got] != [w.shape for w in want]:
        return np.inf
    return max(float(np.max(np.abs(g - w)) / np.max(np.abs(w))) for g, w in zip(got, want))


def compare(name, build, db, want, path, feeds):
    bad = 0
    for threads in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            try:
                got = ours(build, path, feeds, threads, db, folder)
                err = error(got, want)
            except subprocess.CalledProcessError as e:
                print(f"FAIL {name}, {threads} threads: {e}")
                bad += 1
                continue
        ok = err <= LIMIT  # NaN fails
        print(f"{'ok' if ok else 'FAIL'} {name}, {threads} threads: largest difference {err:.1e} of the largest output")
        bad += not ok
    return bad


def main():
    args = sys.argv[1:]
    write, live = "--write" in args, "--live" in args
    db = [x for a in args if a.startswith("--db=") for x in ("--db", a[len("--db="):])]
    args = [a for a in args if not a.startswith("--")]
    if not args:
        sys.exit(__doc__)
    build = None if write else args.pop(0)
    failed = 0
    for name in args:
        path, stored = f"{ROOT}/models/{name}.onnx", f"{ROOT}/tests/golden/{name}.npy"
        feeds = inputs(path)
        if write:
            np.save(stored, reference(path, feeds)[0])
            continue
        failed += compare(name, build, db, reference(path, feeds) if live else [np.load(stored)], path, feeds)
    if not write:
        print(f"{2 * len(args) - failed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
