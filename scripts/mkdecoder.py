#!/usr/bin/env python3
"""Write the small decoders of tests/decoder: two LLaMA layers with random weights, node for node as exporters
write them (RMS norms, rotary embeddings, repeated keys and causal masks in pieces), and what ONNX Runtime
computes with them. The files are committed, so that tests need no Python.

  mkdecoder.py [DIR]   default: tests/decoder beside this script's folder. Needs: numpy, onnx, onnxruntime
  mkdecoder.py --layers N FILE
                       one such decoder of N layers that appends to its past, for scripts/bench-growth; prints how many operators
"""
import argparse, os
import numpy as np
from onnx import TensorProto as T, helper as h, numpy_helper

DIR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "decoder")
LAYERS, HIDDEN, HEADS, GROUPS, INNER, VOCAB = 2, 64, 4, 2, 64, 32
WIDTH = HIDDEN // HEADS


class Model:
    """Nodes in order; each method adds one and returns the name of its result."""

    def __init__(self):
        self.nodes, self.init, self.r = [], [], np.random.Generator(np.random.PCG64(7))

    def __getattr__(self, op):
        def add(*x, outputs=1, **attrs):
            name = f"{op}_{len(self.nodes)}"
            out = [name] if outputs == 1 else [f"{name}.{i}" for i in range(outputs)]
            self.nodes.append(h.make_node(op, list(x), out, name=name, **attrs))
            return name if outputs == 1 else out
        return add

    def const(self, value, dtype=np.int64):
        name = f"const_{len(self.init)}"
        self.init.append(numpy_helper.from_array(np.array(value, dtype), name))
        return name

    def weight(self, *shape, mean=0.0):
        """Stored as float16, to keep the files small."""
        w = self.r.standard_normal(shape) / np.sqrt(shape[0]) + mean
        return self.Cast(self.const(w, np.float16), to=T.FLOAT)

    def scalar(self, x):
        return self.const(x, np.float32)


def rms_norm(m, x):
    x = m.Cast(x, to=T.FLOAT)
    mean = m.ReduceMean(m.Pow(x, m.scalar(2)), axes=[-1], keepdims=1)
    inverse = m.Div(m.scalar(1), m.Sqrt(m.Add(mean, m.scalar(1e-6))))
    return m.Mul(m.weight(HIDDEN, mean=1), m.Cast(m.Mul(x, inverse), to=T.FLOAT))


def angles(m, positions):
    """cos and sin [1, rows, WIDTH] of positions [1, rows]."""
    inv = m.const(1 / 10000 ** (np.arange(0, WIDTH, 2) / WIDTH)[None, :, None], np.float32)
    at = m.Cast(m.Unsqueeze(positions, m.const([1])), to=T.FLOAT)
    f = m.Transpose(m.MatMul(m.Expand(inv, m.const([1, WIDTH // 2, 1])), at), perm=[0, 2, 1])
    both = m.Concat(f, f, axis=-1)
    one = m.scalar(1)
    return [m.Unsqueeze(m.Mul(y, one), m.const([1])) for y in (m.Cos(both), m.Sin(both))]


def rope(m, x, cos, sin):
    width = m.Gather(m.Shape(x), m.const(3), axis=0)
    half = m.Unsqueeze(m.Div(width, m.const(2)), m.const([0]))
    a = m.Slice(x, m.const([0]), half, m.const([3]), m.const([1]))
    b = m.Slice(x, half, m.const([2**63 - 1]), m.const([3]), m.const([1]))
    turned = m.Concat(m.Neg(b), a, axis=-1)
    return m.Add(m.Mul(x, cos), m.Mul(turned, sin))


def heads(m, x, n):
    shape = m.Concat(m.const([1]), m.Unsqueeze(m.Gather(m.Shape(x), m.const(1)), m.const([0])), m.const([n]),
                     m.const([WIDTH]), axis=0)
    return m.Transpose(m.Reshape(x, shape), perm=[0, 2, 1, 3])


def repeat(m, x):
    """[1, GROUPS, rows, WIDTH] to HEADS heads, the target of Expand as PyTorch makes it."""
    rows = m.Unsqueeze(m.Gather(m.Shape(x), m.const(2)), m.const([0]))
    want = m.Concat(m.const([1]), m.const([GROUPS]), m.const([HEADS // GROUPS]), rows, m.const([WIDTH]), axis=0)
    ones = m.ConstantOfShape(m.const([5]), value=h.make_tensor("v", T.INT64, [1], [1]))
    dims = m.Where(m.Equal(want, m.Mul(ones, m.const(-1))), ones, want)
    y = m.Expand(m.Unsqueeze(x, m.const([2])), dims)
    return m.Reshape(y, m.Concat(m.const([1]), m.const([HEADS]), rows, m.const([WIDTH]), axis=0))


def layer(m, i, x, cos, sin, mask, past, outputs):
    y = rms_norm(m, x)
    q = rope(m, heads(m, m.MatMul(y, m.weight(HIDDEN, HIDDEN)), HEADS), cos, sin)
    k = rope(m, heads(m, m.MatMul(y, m.weight(HIDDEN, GROUPS * WIDTH)), GROUPS), cos, sin)
    v = heads(m, m.MatMul(y, m.weight(HIDDEN, GROUPS * WIDTH)), GROUPS)
    if past:
        k = m.Concat(f"past.{i}.key", k, axis=-2)
        v = m.Concat(f"past.{i}.value", v, axis=-2)
        outputs += [(f"present.{i}.key", k), (f"present.{i}.value", v)]
    s = m.MatMul(q, m.Transpose(repeat(m, k), perm=[0, 1, 3, 2]))
    s = m.Mul(s, m.scalar(WIDTH**-0.5))
    if mask:
        s = m.Add(s, mask)
    p = m.Cast(m.Softmax(s, axis=-1), to=T.FLOAT)
    o = m.Transpose(m.MatMul(p, repeat(m, v)), perm=[0, 2, 1, 3])
    o = m.Reshape(o, m.const([1, -1, HIDDEN]))
    x = m.Add(x, m.MatMul(o, m.weight(HIDDEN, HIDDEN)))
    y = rms_norm(m, x)
    gate = m.MatMul(y, m.weight(HIDDEN, INNER))
    gate = m.Mul(gate, m.Sigmoid(gate))
    return m.Add(x, m.MatMul(m.Mul(gate, m.MatMul(y, m.weight(HIDDEN, INNER))), m.weight(INNER, HIDDEN)))


def causal(m, rows):
    full = m.Expand(m.scalar(np.finfo(np.float32).min), m.const([rows, rows]))
    return m.Unsqueeze(m.Unsqueeze(m.Trilu(full, m.const(1), upper=1), m.const([0])), m.const([1]))


def build(name, rows, past, layers):
    """The model, the generator of its weights, the inputs that are caches and the outputs."""
    m = Model()
    words = m.weight(VOCAB, HIDDEN)
    cos, sin = angles(m, "position_ids")
    x, outputs = m.Gather(words, "input_ids"), []
    mask = causal(m, rows) if rows > 1 else None
    for i in range(layers):
        x = layer(m, i, x, cos, sin, mask, past, outputs)
    outputs.insert(0, ("logits", m.MatMul(rms_norm(m, x), m.Transpose(words, perm=[1, 0]))))
    for i, (public, made) in enumerate(outputs):
        m.Identity(made)
        m.nodes[-1].output[0] = public
    kv = [f"past.{i}.{what}" for i in range(layers) for what in ("key", "value")] if past else []
    inputs = [h.make_tensor_value_info(n, T.INT64, [1, rows]) for n in ("input_ids", "position_ids")]
    inputs += [h.make_tensor_value_info(n, T.FLOAT, [1, GROUPS, past, WIDTH]) for n in kv]
    shapes = [[1, rows, VOCAB]] + [[1, GROUPS, past + rows, WIDTH]] * (len(outputs) - 1)
    outs = [h.make_tensor_value_info(n, T.FLOAT, s) for (n, _), s in zip(outputs, shapes)]
    model = h.make_model(h.make_graph(m.nodes, name, inputs, outs, m.init), ir_version=8,
                         opset_imports=[h.make_opsetid("", 17)])
    return model, m.r, kv, [o.name for o in outs]


def write(folder, name, rows, past):
    import onnxruntime as ort
    model, r, kv, outs = build(name, rows, past, LAYERS)
    data = model.SerializeToString()
    folder = os.path.join(folder, name, "test_data_set_0")
    os.makedirs(folder, exist_ok=True)
    assert len(data) < 200000
    with open(os.path.join(folder, "..", "model.onnx"), "wb") as f:
        f.write(data)
    feeds = {"input_ids": r.integers(0, VOCAB, (1, rows)), "position_ids": past + np.arange(rows)[None]}
    feeds |= {n: r.standard_normal((1, GROUPS, past, WIDTH), np.float32) for n in kv}
    got = ort.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, feeds)
    for kind, rows_of in (("input", feeds.items()), ("output", zip(outs, got))):
        for i, (n, x) in enumerate(rows_of):
            with open(os.path.join(folder, f"{kind}_{i}.pb"), "wb") as f:
                f.write(numpy_helper.from_array(x, n).SerializeToString())


def main():
    parser = argparse.ArgumentParser(usage="mkdecoder.py [DIR] | --layers N FILE")
    parser.add_argument("--layers", type=int)
    parser.add_argument("path", nargs="?", default=DIR)
    args = parser.parse_args()
    if args.layers:
        model = build("decoder", 1, 11, args.layers)[0]
        with open(args.path, "wb") as f:
            f.write(model.SerializeToString())
        print(len(model.graph.node))
        return
    write(args.path, "llama", 9, 0)
    write(args.path, "llama-past", 1, 11)


if __name__ == "__main__":
    main()
