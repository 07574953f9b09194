# A mask that selects becomes one to add; keys and values from a cache stay in heads; the scores are
# divided
#? pass views
graph attention_select opset=17
input q:f32[1,3,4]
input k:f32[1,2,5,2]
input v:f32[1,2,5,2]
input m:bool[1,1,3,5]
const qd:i64[4] = {1, 3, 2, 2}
const yd:i64[2] = {3, 4}
const root:f32[] = {1.41421354}
const low:f32[] = {-inf}
q1 = Reshape(q, qd) @q1
q2 = Transpose(q1) @q2 perm=[0,2,1,3]
k2 = Transpose(k) @k2 perm=[0,1,3,2]
s = MatMul(q2, k2) @scores
r = Div(s, root) @scale
t = Where(m, r, low) @mask
p = Softmax(t) @softmax axis=-1
o = MatMul(p, v) @out
o1 = Transpose(o) @o1 perm=[0,2,1,3]
y = Reshape(o1, yd) @o2
output y
# >>> expect
# graph attention_select opset=17 hash=0000000000000000
# input q:f32[1,3,4]
# input k:f32[1,2,5,2]
# input v:f32[1,2,5,2]
# input m:bool[1,1,3,5]
# const yd:i64[2] = {3, 4}
# const low:f32[] = {-inf}
# const mask.zero:f32[] = {0}
# t:f32[1,1,3,5] = Where(m, mask.zero, low) @mask
# o1:f32[1,3,4] = FusedAttention(q, k, v, t) @o1 heads=2 kv_heads=2 scale=0.707106769 causal=0 guard=0
# y:f32[3,4] = Reshape(o1, yd) @o2
# output y
# <<<
