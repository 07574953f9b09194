# Attention as exporters write it: roots of the scale on both sides, a mask to add, a guard
#? pass views
graph attention opset=17
input q:f32[1,3,4]
input k:f32[1,5,4]
input v:f32[1,5,4]
input m:f32[1,1,1,5]
const qd:i64[4] = {1, 3, 2, 2}
const kd:i64[4] = {1, 5, 2, 2}
const yd:i64[3] = {1, 3, 4}
const root:f32[] = {0.840896428}
const zero:f32[] = {0}
q1 = Reshape(q, qd) @q1
q2 = Transpose(q1) @q2 perm=[0,2,1,3]
k1 = Reshape(k, kd) @k1
k2 = Transpose(k1) @k2 perm=[0,2,3,1]
v1 = Reshape(v, kd) @v1
v2 = Transpose(v1) @v2 perm=[0,2,1,3]
q3 = Mul(q2, root) @q3
k3 = Mul(k2, root) @k3
s = MatMul(q3, k3) @scores
t = Add(s, m) @mask
p = Softmax(t) @softmax axis=-1
nan = IsNaN(p) @nan
g = Where(nan, zero, p) @guard
o = MatMul(g, v2) @out
o1 = Transpose(o) @o1 perm=[0,2,1,3]
y = Reshape(o1, yd) @o2
output y
# >>> expect
# graph attention opset=17 hash=0000000000000000
# input q:f32[1,3,4]
# input k:f32[1,5,4]
# input v:f32[1,5,4]
# input m:f32[1,1,1,5]
# y:f32[1,3,4] = FusedAttention(q, k, v, m) @o1 heads=2 kv_heads=2 scale=0.707106829 causal=0 guard=1
# output y
# <<<
