# Products of batch and heads in one axis, as exporters of bmm write them, with a bias for each head:
# an attention
#? pass attention
graph flat_heads opset=17
input q:f32[1,3,4]
input k:f32[1,3,4]
input v:f32[1,3,4]
input bias:f32[2,1,3]
input mask:f32[1,1,3,3]
const heads:i64[4] = {1, 3, 2, 2}
const bmm:i64[3] = {2, 3, 2}
const scores:i64[4] = {1, 2, 3, 3}
const weights:i64[3] = {2, 3, 3}
const split:i64[4] = {1, 2, 3, 2}
const out:i64[3] = {1, 3, 4}
const scale:f32[] = {0.5}
q1 = Reshape(q, heads) @q1
q2 = Transpose(q1) @q2 perm=[0,2,1,3]
q3 = Reshape(q2, bmm) @q3
k1 = Reshape(k, heads) @k1
k2 = Transpose(k1) @k2 perm=[0,2,1,3]
k3 = Reshape(k2, bmm) @k3
k4 = Transpose(k3) @k4 perm=[0,2,1]
v1 = Reshape(v, heads) @v1
v2 = Transpose(v1) @v2 perm=[0,2,1,3]
v3 = Reshape(v2, bmm) @v3
s1 = MatMul(q3, k4) @scores
s2 = Mul(s1, scale) @scale
s3 = Add(s2, bias) @bias
s4 = Reshape(s3, scores) @s4
s5 = Add(s4, mask) @mask
s6 = Softmax(s5) @softmax axis=-1
s7 = Reshape(s6, weights) @s7
y1 = MatMul(s7, v3) @values
y2 = Reshape(y1, split) @y2
y3 = Transpose(y2) @y3 perm=[0,2,1,3]
y = Reshape(y3, out) @y
output y
# >>> expect
# graph flat_heads opset=17 hash=0000000000000000
# input q:f32[1,3,4]
# input k:f32[1,3,4]
# input v:f32[1,3,4]
# input bias:f32[2,1,3]
# input mask:f32[1,1,3,3]
# const out:i64[3] = {1, 3, 4}
# const bias.dims:i64[4] = {1, 2, 1, 3}
# bias.1:f32[1,2,1,3] = Reshape(bias, bias.dims) @bias
# s5:f32[1,2,3,3] = Add(bias.1, mask) @mask
# y3:f32[1,3,4] = FusedAttention(q, k, v, s5) @y3 heads=2 kv_heads=2 scale=0.5 causal=0 guard=0
# y:f32[1,3,4] = Reshape(y3, out) @y
# output y
# <<<
