# A constant mask that hides what comes later is no mask but an attribute
#? pass views
graph attention_causal opset=17
input q:f32[1,2,3,2]
input k:f32[1,2,3,2]
input v:f32[1,2,3,2]
const m:f32[3,3] = {0, -inf, -inf, 0, 0, -inf, 0, 0, 0}
const yd:i64[3] = {1, 3, 4}
k2 = Transpose(k) @k2 perm=[0,1,3,2]
s = MatMul(q, k2) @scores
t = Add(m, s) @mask
p = Softmax(t) @softmax axis=3
o = MatMul(p, v) @out
o1 = Transpose(o) @o1 perm=[0,2,1,3]
y = Reshape(o1, yd) @o2
output y
# >>> expect
# graph attention_causal opset=17 hash=0000000000000000
# input q:f32[1,2,3,2]
# input k:f32[1,2,3,2]
# input v:f32[1,2,3,2]
# y:f32[1,3,4] = FusedAttention(q, k, v) @o1 heads=2 kv_heads=2 scale=1.0 causal=1 guard=0
# output y
# <<<
