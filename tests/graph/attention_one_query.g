# One query of heads that share keys: exporters let the heads stand where positions did
#? pass views
graph attention_one_query opset=17
input q:f32[1,4,1,2]
input k:f32[1,2,5,2]
input v:f32[1,2,5,2]
input m:f32[1,1,1,5]
const grouped:i64[4] = {1, 2, 2, 2}
const heads:i64[4] = {1, 4, 1, 2}
const yd:i64[3] = {1, 1, 8}
q1 = Reshape(q, grouped) @q1
k1 = Transpose(k) @k1 perm=[0,1,3,2]
s = MatMul(q1, k1) @scores
t = Add(s, m) @mask
p = Softmax(t) @softmax axis=-1
o = MatMul(p, v) @out
o1 = Reshape(o, heads) @o1
o2 = Transpose(o1) @o2 perm=[0,2,1,3]
y = Reshape(o2, yd) @o3
output y
# >>> expect
# graph attention_one_query opset=17 hash=0000000000000000
# input q:f32[1,4,1,2]
# input k:f32[1,2,5,2]
# input v:f32[1,2,5,2]
# input m:f32[1,1,1,5]
# y:f32[1,1,8] = FusedAttention(q, k, v, m) @o2 heads=4 kv_heads=2 scale=1.0 causal=0 guard=0
# output y
# <<<
