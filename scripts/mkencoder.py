#!/usr/bin/env python3
"""Write a BERT-like encoder with random weights: so many layers of the same widths (those of minilm), for
scripts/bench-measuring.

  mkencoder.py [--layers N] [--hidden N] [--heads N] [--inner N] [--rows N] [--products] FILE

--products: the products of its linear layers alone, as they stand in it, each layer behind the one before.
Needs: numpy, onnx.
"""
import argparse
import numpy as np
from onnx import TensorProto as T, helper as h
from mkdecoder import Model


def heads(m, x, a, perm):
    return m.Transpose(m.Reshape(x, m.const([1, a.rows, a.heads, a.hidden // a.heads])), perm=perm)


def attention(m, a, q, k, v):
    scores = m.MatMul(heads(m, q, a, [0, 2, 1, 3]), heads(m, k, a, [0, 2, 3, 1]))
    p = m.Softmax(m.Mul(scores, m.scalar((a.hidden // a.heads) ** -0.5)), axis=-1)
    return m.Reshape(m.Transpose(m.MatMul(p, heads(m, v, a, [0, 2, 1, 3])), perm=[0, 2, 1, 3]),
                     m.const([1, a.rows, a.hidden]))


def gelu(m, x):
    return m.Mul(m.Mul(x, m.Add(m.Erf(m.Div(x, m.scalar(np.sqrt(2)))), m.scalar(1))), m.scalar(0.5))


def norm(m, a, x):
    return x if a.products else m.LayerNormalization(x, m.weight(a.hidden, mean=1), m.weight(a.hidden), axis=-1)


def layer(m, a, x, outputs):
    """Query and key of --products have no user: they become outputs."""
    q, k, v = (m.MatMul(x, m.weight(a.hidden, a.hidden)) for _ in range(3))
    if a.products:
        outputs += [q, k]
    y = v if a.products else attention(m, a, q, k, v)
    x = norm(m, a, m.Add(m.MatMul(y, m.weight(a.hidden, a.hidden)), x))
    y = gelu(m, m.MatMul(x, m.weight(a.hidden, a.inner)))
    return norm(m, a, m.Add(m.MatMul(y, m.weight(a.inner, a.hidden)), x))


def build(a):
    m, x, outputs = Model(), "x", []
    for _ in range(a.layers):
        x = layer(m, a, x, outputs)
    shape = [1, a.rows, a.hidden]
    infos = [h.make_tensor_value_info(n, T.FLOAT, shape) for n in ["x", x, *outputs]]
    return h.make_model(h.make_graph(m.nodes, "encoder", infos[:1], infos[1:], m.init), ir_version=8,
                        opset_imports=[h.make_opsetid("", 17)])


def main():
    p = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1].strip())
    for name, default in (("layers", 6), ("hidden", 384), ("heads", 12), ("inner", 1536), ("rows", 128)):
        p.add_argument(f"--{name}", type=int, default=default)
    p.add_argument("--products", action="store_true")
    p.add_argument("path")
    a = p.parse_args()
    with open(a.path, "wb") as f:
        f.write(build(a).SerializeToString())


if __name__ == "__main__":
    main()
