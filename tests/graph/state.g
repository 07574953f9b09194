# A cache of keys and values: what is appended goes behind what was there, and attention reads it there
#? pass state
graph state opset=17
input x:f32[1,1,4]
input pk:f32[1,2,3,2]
input pv:f32[1,2,3,2]
const w:f32[4,4] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 8, 7, 6, 5, 4, 3, 2}
const head:i64[4] = {1, 1, 2, 2}
const yd:i64[3] = {1, 1, 4}
k1 = MatMul(x, w) @k1
k2 = Reshape(k1, head) @k2
k3 = Transpose(k2) @k3 perm=[0,2,1,3]
v2 = Reshape(x, head) @v2
v3 = Transpose(v2) @v3 perm=[0,2,1,3]
k = Concat(pk, k3) @k axis=-2
v = Concat(pv, v3) @v axis=2
t = Transpose(k) @t perm=[0,1,3,2]
s = MatMul(k3, t) @s
p = Softmax(s) @p axis=-1
o = MatMul(p, v) @o
o1 = Transpose(o) @o1 perm=[0,2,1,3]
y = Reshape(o1, yd) @o2
output y
output k
output v
# >>> expect
# graph state opset=17 hash=0000000000000000
# input x:f32[1,1,4]
# input pk:f32[1,2,3,2]
# input pv:f32[1,2,3,2]
# const w:f32[4,4] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 8, 7, 6, 5, 4, 3, 2}
# const k3.dims.1:i64[4] = {1, 2, 1, 2}
# const v3.dims.1:i64[4] = {1, 2, 1, 2}
# const k.flat.dims:i64[3] = {1, 4, 4}
# const v.flat.dims:i64[3] = {1, 4, 4}
# k1:f32[1,1,4] = MatMul(x, w) @k1
# k3:f32[1,2,1,2] = Reshape(k1, k3.dims.1) @k3
# v3:f32[1,2,1,2] = Reshape(x, v3.dims.1) @v3
# k:f32[1,2,4,2] = Append(pk, k3) @k axis=2
# v:f32[1,2,4,2] = Append(pv, v3) @v axis=2
# k.turned:f32[1,4,2,2] = Transpose(k) @k.turned perm=[0,2,1,3]
# k.flat:f32[1,4,4] = Reshape(k.turned, k.flat.dims) @k.flat
# v.turned:f32[1,4,2,2] = Transpose(v) @v.turned perm=[0,2,1,3]
# v.flat:f32[1,4,4] = Reshape(v.turned, v.flat.dims) @v.flat
# y:f32[1,1,4] = FusedAttention(k1, k.flat, v.flat) @o1 heads=2 kv_heads=2 scale=1.0 causal=0 guard=0
# output y
# output k
# output v
# <<<
