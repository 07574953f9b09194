# Operators of opset 23: angles from a table by position, heads in front of positions and back
#? pass views
graph lower opset=23
input q:f32[1,3,8]
input k:f32[1,3,4]
input v:f32[1,3,4]
input m:f32[3,3]
const at:i64[1,3] = {2, 0, 1}
const cos:f32[3,1] = {1, 0.5, 0}
const sin:f32[3,1] = {0, 0.5, 1}
const qd:i64[4] = {1, 3, 4, 2}
const kd:i64[4] = {1, 3, 2, 2}
const yd:i64[3] = {1, 3, 8}
q1 = Reshape(q, qd) @q1
q2 = Transpose(q1) @q2 perm=[0,2,1,3]
q3 = RotaryEmbedding(q2, cos, sin, at) @q3
k1 = Reshape(k, kd) @k1
k2 = Transpose(k1) @k2 perm=[0,2,1,3]
k3 = RotaryEmbedding(k2, cos, sin, at) @k3
v1 = Reshape(v, kd) @v1
v2 = Transpose(v1) @v2 perm=[0,2,1,3]
o = Attention(q3, k3, v2, m) @attention scale=0.5
o1 = Transpose(o) @o1 perm=[0,2,1,3]
y = Reshape(o1, yd) @o2
z = Attention(q, k, v) @flat q_num_heads=4 kv_num_heads=2 is_causal=1
output y
output z
# >>> expect
# graph lower opset=23 hash=0000000000000000
# input q:f32[1,3,8]
# input k:f32[1,3,4]
# input v:f32[1,3,4]
# input m:f32[3,3]
# const at:i64[1,3] = {2, 0, 1}
# const cos:f32[3,1] = {1, 0.5, 0}
# const sin:f32[3,1] = {0, 0.5, 1}
# cos.1:f32[1,3,1] = Gather(cos, at) @cos
# sin.1:f32[1,3,1] = Gather(sin, at) @sin
# q3:f32[1,3,8] = FusedRope(q, cos.1, sin.1) @q3 heads=4 rotary=2 from=0 to=0
# cos.2:f32[1,3,1] = Gather(cos, at) @cos
# sin.2:f32[1,3,1] = Gather(sin, at) @sin
# k3:f32[1,3,4] = FusedRope(k, cos.2, sin.2) @k3 heads=2 rotary=2 from=0 to=0
# y:f32[1,3,8] = FusedAttention(q3, k3, v, m) @attention heads=4 kv_heads=2 scale=0.5 causal=0 guard=0
# z:f32[1,3,8] = FusedAttention(q, k, v) @flat heads=4 kv_heads=2 scale=0.707106769 causal=1 guard=0
# output y
# output z
# <<<
