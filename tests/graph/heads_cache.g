# Keys that go out for the next token stay by head; one key head for all queries, by Tile
#? pass views
graph heads_cache opset=17
input q:f32[1,1,4]
input k:f32[1,1,2]
input v:f32[1,1,2]
input past_k:f32[1,1,3,2]
input past_v:f32[1,1,3,2]
const qd:i64[4] = {1, 1, 2, 2}
const kd:i64[4] = {1, 1, 1, 2}
const times:i64[4] = {1, 2, 1, 1}
const yd:i64[3] = {1, 1, 4}
q1 = Reshape(q, qd) @q1
q2 = Transpose(q1) @q2 perm=[0,2,1,3]
k1 = Reshape(k, kd) @k1
k2 = Transpose(k1) @k2 perm=[0,2,1,3]
v1 = Reshape(v, kd) @v1
v2 = Transpose(v1) @v2 perm=[0,2,1,3]
k3 = Concat(past_k, k2) @k3 axis=2
v3 = Concat(past_v, v2) @v3 axis=2
k6 = Tile(k3, times) @k6
v6 = Tile(v3, times) @v6
k7 = Transpose(k6) @k7 perm=[0,1,3,2]
s = MatMul(q2, k7) @scores
p = Softmax(s) @softmax axis=-1
o = MatMul(p, v6) @out
o1 = Transpose(o) @o1 perm=[0,2,1,3]
y = Reshape(o1, yd) @o2
output y
output k3
output v3
# >>> expect
# graph heads_cache opset=17 hash=0000000000000000
# input q:f32[1,1,4]
# input k:f32[1,1,2]
# input v:f32[1,1,2]
# input past_k:f32[1,1,3,2]
# input past_v:f32[1,1,3,2]
# const kd:i64[4] = {1, 1, 1, 2}
# k1:f32[1,1,1,2] = Reshape(k, kd) @k1
# v1:f32[1,1,1,2] = Reshape(v, kd) @v1
# k3:f32[1,1,4,2] = Concat(past_k, k1) @k3 axis=2
# v3:f32[1,1,4,2] = Concat(past_v, v1) @v3 axis=2
# y:f32[1,1,4] = FusedAttention(q, k3, v3) @o1 heads=2 kv_heads=1 scale=1.0 causal=0 guard=0
# output y
# output k3
# output v3
# <<<
