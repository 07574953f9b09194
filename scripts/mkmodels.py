#!/usr/bin/env python3
"""Write the small models of tests/onnx. The files are committed, so that tests need no Python;
run this after a change here and look at the difference.

  mkmodels.py [DIR]   default: tests/onnx beside this script's folder. Needs: numpy, onnx
"""
import argparse, os
import numpy as np
from onnx import AttributeProto, ModelProto, TensorProto as T, helper as h

parser = argparse.ArgumentParser()
parser.add_argument("dir", nargs="?", default=os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "..", "tests", "onnx"))
DIR = parser.parse_args().dir
F, I = T.FLOAT, T.INT64


def value(name, shape=(2,), dtype=F):
    return h.make_tensor_value_info(name, dtype, shape)


def save(name, nodes, inputs=(), outputs=(), init=(), opset=17, ir=8, domain="", **more):
    graph = h.make_graph(list(nodes), name, list(inputs), list(outputs), list(init), **more)
    model = h.make_model(graph, ir_version=ir, opset_imports=[h.make_opsetid(domain, opset)])
    model.producer_name = ""
    write(name, model)
    return model


def write(name, model):
    data = model.SerializeToString() if isinstance(model, ModelProto) else model
    assert len(data) < 4096, name
    with open(os.path.join(DIR, name + ".onnx"), "wb") as f:
        f.write(data)


def tensor(name, dtype, dims, field=None, vals=(), raw=None):
    t = T(name=name, data_type=dtype, dims=dims)
    if raw is not None:
        t.raw_data = raw
    elif field:
        getattr(t, field).extend(vals)
    return t


def external(name, dims, **entries):
    t = T(name=name, data_type=F, dims=dims, data_location=T.EXTERNAL)
    for k, v in entries.items():
        t.external_data.add(key=k, value=str(v))
    return t


def bits16(a):  # of float16
    return [int(x) for x in np.array(a, np.float16).view(np.uint16)]


def data_types():
    """One tensor of each element type, in the typed field and as raw bytes: the same values."""
    bf = [int(x) >> 16 for x in np.array([1, -2.5], np.float32).view(np.uint32)]
    rows = [  # name, type, typed field, its values, NumPy type and values of the raw form
        ("f32", F, "float_data", [1.5, -2], "<f4", [1.5, -2]),
        ("f64", T.DOUBLE, "double_data", [0.1, -2], "<f8", [0.1, -2]),
        ("i64", I, "int64_data", [-(1 << 40), 7], "<i8", [-(1 << 40), 7]),
        ("i32", T.INT32, "int32_data", [-5, 7], "<i4", [-5, 7]),
        ("i16", T.INT16, "int32_data", [-5, 7], "<i2", [-5, 7]),
        ("i8", T.INT8, "int32_data", [-5, 7], "<i1", [-5, 7]),
        ("u64", T.UINT64, "uint64_data", [(1 << 64) - 1, 7], "<u8", [(1 << 64) - 1, 7]),
        ("u32", T.UINT32, "uint64_data", [(1 << 32) - 1, 7], "<u4", [(1 << 32) - 1, 7]),
        ("u16", T.UINT16, "int32_data", [65535, 7], "<u2", [65535, 7]),
        ("u8", T.UINT8, "int32_data", [255, 7], "<u1", [255, 7]),
        ("bool", T.BOOL, "int32_data", [1, 0], "<u1", [2, 0]),
        ("f16", T.FLOAT16, "int32_data", bits16([1, -2.5]), "<f2", [1, -2.5]),
        ("bf16", T.BFLOAT16, "int32_data", bf, "<u2", bf),
    ]
    outs = [value(r[0], (2,), r[1]) for r in rows]
    save("typed", [], outputs=outs, init=[tensor(r[0], r[1], [2], r[2], r[3]) for r in rows])
    save("raw", [], outputs=outs,
         init=[tensor(r[0], r[1], [2], raw=np.array(r[5], r[4]).tobytes()) for r in rows])


def constants():
    t = tensor("", F, [1, 2], "float_data", [3, 4])
    forms = dict(value=t, value_float=0.5, value_floats=[0.5, 1.5], value_int=-3, value_ints=[1, 2])
    nodes = [h.make_node("Constant", [], [k], **{k: v}) for k, v in forms.items()]
    save("constants", nodes, outputs=[value(k, None) for k in forms])
    save("constant_text", [h.make_node("Constant", [], ["s"], name="c", value_string="x")],
         outputs=[value("s")])
    sparse = h.make_sparse_tensor(tensor("v", F, [1], "float_data", [1]),
                                  tensor("i", I, [1], "int64_data", [0]), [2])
    save("constant_sparse", [h.make_node("Constant", [], ["s"], name="c", sparse_value=sparse)],
         outputs=[value("s")])
    save("sparse", [h.make_node("Relu", ["x"], ["y"])], [value("x")], [value("y")],
         sparse_initializer=[sparse])


def inputs():
    relu = [h.make_node("Relu", ["x"], ["y"])]
    save("dims", relu, [value("x", ("batch", "seq", None, 4))], [value("y", None)])
    save("overflow", relu, [value("x", (1 << 40, 1 << 40))], [value("y", None)])
    save("rank", relu, [value("x", (1,) * 9)], [value("y", None)])
    save("no_shape", relu, [value("x", None)], [value("y", None)])
    save("text_input", relu, [value("x", (1,), T.STRING)], [value("y", None)])
    save("sequence", relu, [h.make_tensor_sequence_value_info("x", F, (1,))], [value("y", None)])
    w = tensor("w", F, [2], "float_data", [1, 2])
    save("old", [h.make_node("Add", ["x", "w"], ["y"])], [value("x"), value("w")], [value("y")], [w],
         opset=9, ir=3)
    save("twice", [], [value("x"), value("x")], [value("x")])
    save("no_output", relu, [value("x")])


def nodes():
    x, y, n = [value("x")], [value("y")], h.make_node
    save("first", [n("Add", ["x", "w"], ["a"], name="add"), n("Relu", ["a"], ["y"], name="relu")], x,
         y, [tensor("w", F, [2], "float_data", [1, 2])])
    w = [tensor("w", F, [2, 3], "float_data", range(6)), tensor("b", F, [3], "float_data", range(3)),
         tensor("v", F, [3, 2], "float_data", range(6))]
    save("matmul_add", [n("MatMul", ["x", "w"], ["p"], name="up"), n("Add", ["p", "b"], ["q"]),
                        n("MatMul", ["q", "v"], ["y"], name="down")],
         [value("x", (2, 2))], [value("y", (2, 2))], w)
    save("several", [n("MatMul", ["x", "w"], ["a"]), n("Softmax", ["a"], ["b"], axis=-1),
                     n("MatMul", ["b", "v"], ["c"]), n("Add", ["c", "x"], ["d"]),
                     n("Transpose", ["d"], ["y"], perm=[1, 0])],
         [value("x", (16, 32)), value("w", (32, 48)), value("v", (48, 32))], [value("y", (32, 16))])
    save("unsorted", [n("Relu", ["a"], ["y"]), n("Neg", ["x"], ["a"])], x, y)
    save("cycle", [n("Add", ["x", "b"], ["a"], name="p"), n("Neg", ["a"], ["b"], name="q")], x,
         [value("a")])
    save("missing", [n("Add", ["x", "nowhere"], ["y"], name="p")], x, y)
    save("missing_output", [n("Relu", ["x"], ["z"])], x, y)
    save("made_twice", [n("Relu", ["x"], ["y"], name="p"), n("Neg", ["x"], ["y"], name="q")], x, y)
    save("optional", [n("Clip", ["x", "", "hi"], ["y"], name="c")], x, y,
         [tensor("hi", F, [], "float_data", [6])])
    attr = n("Relu", ["x"], ["y"], i=-1, f=1.0, s="a \"b\" \\", ints=[1, -2], floats=[1.0, 0.5],
             t=tensor("", F, [2], "float_data", [1, 2]))
    save("attributes", [attr], x, y)
    save("odd_names", [n("Relu", ["x:0"], ["a b"], name="1 + 1")], [value("x:0")], [value("a b")])
    save("opset6", [n("Relu", ["x"], ["y"])], x, y, opset=6)
    save("opset24", [n("Relu", ["x"], ["y"])], x, y, opset=24)
    save("no_opset", [n("Relu", ["x"], ["y"])], x, y, domain="org.example")
    strange = [n("Frobnicate", ["x"], [f"t{i}"], name=f"n{i}") for i in range(6)]
    strange += [n("FusedMatMul", ["x", "x"], ["y"], name="m", domain="com.microsoft")]
    strange += [n("FusedElementwise", ["x"], ["z"]), n("Where", ["c", "x", "x"], ["u"], name="w")]
    save("unsupported", strange, x + [value("c", (2,), T.BOOL)], y, opset=8)
    body = h.make_graph([n("Relu", ["x"], ["y"])], "body", [], [value("y")])
    save("branch", [n("If", ["c"], ["y"], name="if", then_branch=body, else_branch=body)],
         [value("c", (1,), T.BOOL)], y)
    save("subgraph", [n("Relu", ["x"], ["y"], name="r", body=body)], x, y)
    ref = n("Relu", ["x"], ["y"], name="r")
    ref.attribute.append(AttributeProto(name="a", ref_attr_name="b", type=AttributeProto.INT))
    save("reference", [ref], x, y)


def data():
    def one(name, t):
        save(name, [], outputs=[value("w", None)], init=[t])
    one("raw_short", tensor("w", F, [2], raw=bytes(7)))
    one("typed_short", tensor("w", F, [2], "float_data", [1]))
    one("huge", tensor("w", F, [1 << 62, 1 << 62]))
    one("negative", tensor("w", F, [-1]))
    one("text", tensor("w", T.STRING, [1]))
    one("segment", T(name="w", data_type=F, dims=[0], segment=T.Segment(begin=0, end=1)))
    one("unnamed", tensor("", F, [0]))
    one("ext_missing", external("w", [2], location="there-is-no-such.bin"))
    one("ext_none", external("w", [2]))
    one("ext_up", external("w", [2], location="../../etc/passwd"))
    one("ext_absolute", external("w", [2], location="/etc/passwd"))
    one("ext_range", external("w", [2], location="external.bin", offset=8))
    one("ext_offset", external("w", [2], location="external.bin", offset="-4"))
    one("ext_length", external("w", [2], location="external.bin", length=9))
    both = [external("a", [2], location="external.bin", offset=1, length=8),
            external("b", [3], location="external.bin")]
    save("external", [], outputs=[value("a", None), value("b", None)], init=both)
    with open(os.path.join(DIR, "external.bin"), "wb") as f:
        f.write(np.array([1, 2, 3], "<f4").tobytes())


def hostile():
    write("empty", b"")
    write("no_model", b"this is text and no model at all")
    deep = b""  # AttributeProto.g of NodeProto.attribute of GraphProto.node, over and over

    def field(number, inner):
        n, size = len(inner), b""
        while n > 127:
            size, n = size + bytes([n & 127 | 128]), n >> 7
        return bytes([number << 3 | 2]) + size + bytes([n]) + inner
    for _ in range(150):
        deep = field(1, field(5, field(6, deep)))
    write("deep", field(7, deep))


os.makedirs(DIR, exist_ok=True)
for make in (data_types, constants, inputs, nodes, data, hostile):
    make()
with open(os.path.join(DIR, "tensor.pb"), "wb") as f:
    f.write(tensor("t", I, [2, 2], "int64_data", [1, 2, 3, 4]).SerializeToString())
