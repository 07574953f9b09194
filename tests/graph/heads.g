# Grouped queries: keys and values repeated by Expand; rotary embeddings and norms by head in front
#? pass views
graph heads opset=17
input q:f32[1,3,8]
input k:f32[1,3,4]
input v:f32[1,3,4]
input cos:f32[1,1,3,2]
input sin:f32[1,1,3,2]
const qd:i64[4] = {1, 3, 4, 2}
const kd:i64[4] = {1, 3, 2, 2}
const ud:i64[5] = {1, 2, 1, 3, 2}
const ed:i64[5] = {1, 2, 2, 3, 2}
const rd:i64[4] = {1, 4, 3, 2}
const yd:i64[3] = {1, 3, 8}
const gain:f32[2] = {1, 0.5}
q1 = Reshape(q, qd) @q1
qn = RMSNormalization(q1, gain) @qn
q2 = Transpose(qn) @q2 perm=[0,2,1,3]
k1 = Reshape(k, kd) @k1
k2 = Transpose(k1) @k2 perm=[0,2,1,3]
v1 = Reshape(v, kd) @v1
v2 = Transpose(v1) @v2 perm=[0,2,1,3]
kx1, kx2 = Split(k2) @ksplit axis=3
kn = Neg(kx2) @kn
kr = Concat(kn, kx1) @kr axis=-1
ks = Mul(kr, sin) @ks
kc = Mul(k2, cos) @kc
k3 = Add(kc, ks) @k3
k4 = Reshape(k3, ud) @k4
k5 = Expand(k4, ed) @k5
k6 = Reshape(k5, rd) @k6
v4 = Reshape(v2, ud) @v4
v5 = Expand(v4, ed) @v5
v6 = Reshape(v5, rd) @v6
k7 = Transpose(k6) @k7 perm=[0,1,3,2]
s = MatMul(q2, k7) @scores
p = Softmax(s) @softmax axis=-1
o = MatMul(p, v6) @out
o1 = Transpose(o) @o1 perm=[0,2,1,3]
y = Reshape(o1, yd) @o2
output y
# >>> expect
# graph heads opset=17 hash=0000000000000000
# input q:f32[1,3,8]
# input k:f32[1,3,4]
# input v:f32[1,3,4]
# input cos:f32[1,1,3,2]
# input sin:f32[1,1,3,2]
# const qd:i64[4] = {1, 3, 4, 2}
# const gain:f32[2] = {1, 0.5}
# const qn.dims:i64[3] = {1, 3, 8}
# q1:f32[1,3,4,2] = Reshape(q, qd) @q1
# qn:f32[1,3,4,2] = RMSNormalization(q1, gain) @qn
# k3:f32[1,3,4] = FusedRope(k, cos, sin) @k3 heads=2 rotary=2 from=0 to=0
# qn.1:f32[1,3,8] = Reshape(qn, qn.dims) @qn
# y:f32[1,3,8] = FusedAttention(qn.1, k3, v) @o1 heads=4 kv_heads=2 scale=1.0 causal=0 guard=0
# output y
# <<<
