# Keys that are repeated for the heads and transposed before their axes are merged
#? pass heads
graph attention_repeated opset=17
input q:f32[1,4,3,2]
input k:f32[1,2,3,2]
input v:f32[1,2,3,2]
const one:i64[5] = {1, 2, 1, 3, 2}
const many:i64[5] = {1, 2, 2, 3, 2}
const kd:i64[4] = {1, 4, 2, 3}
const vd:i64[4] = {1, 4, 3, 2}
const yd:i64[3] = {1, 3, 8}
k1 = Reshape(k, one) @k1
k2 = Expand(k1, many) @k2
k3 = Transpose(k2) @k3 perm=[0,1,2,4,3]
k4 = Reshape(k3, kd) @k4
v1 = Reshape(v, one) @v1
v2 = Expand(v1, many) @v2
v3 = Reshape(v2, vd) @v3
s = MatMul(q, k4) @scores
p = Softmax(s) @softmax axis=-1
o = MatMul(p, v3) @out
o1 = Transpose(o) @o1 perm=[0,2,1,3]
y = Reshape(o1, yd) @o2
output y
# >>> expect
# graph attention_repeated opset=17 hash=0000000000000000
# input q:f32[1,4,3,2]
# input k:f32[1,2,3,2]
# input v:f32[1,2,3,2]
# const yd:i64[3] = {1, 3, 8}
# o1:f32[1,3,8] = FusedAttention(q, k, v) @o1 heads=4 kv_heads=2 scale=1.0 causal=0 guard=0
# y:f32[1,3,8] = Reshape(o1, yd) @o2
# output y
# <<<
