# Biases behind a split go before it, into the product; not when one part has none
#? pass fuse
graph slices_bias opset=18
input x:f32[1,3,2]
input u:f32[1,3,4]
const w:f32[2,6] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
const bq:f32[2] = {1, 2}
const bk:f32[2] = {3, 4}
const bv:f32[1,1,2] = {5, 6}
m = MatMul(x, w) @m
q1, k1, v1 = Split(m) @split axis=-1 num_outputs=3
q = Add(q1, bq) @q
k = Add(bk, k1) @k
v = Add(v1, bv) @v
y = FusedAttention(q, k, v) @self heads=1 scale=0.001
q2, k2 = Split(u) @split2 axis=-1 num_outputs=2
k3 = Add(k2, bk) @k3
z = FusedAttention(q2, k3, k3) @other heads=1 scale=0.001
output y
output z
# >>> expect
# graph slices_bias opset=18 hash=0000000000000000
# input x:f32[1,3,2]
# input u:f32[1,3,4]
# const w:f32[2,6] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
# const bk:f32[2] = {3, 4}
# const m.biases:f32[6] = {1, 2, 3, 4, 5, 6}
# m.biased:f32[1,3,6] = MatMul(x, w; m.biases) @m {4:f32 = Add(3, 2)}
# y:f32[1,3,2] = FusedAttention(m.biased, m.biased, m.biased) @self heads=1 scale=0.00100000005 width=2 q_at=0 k_at=2 v_width=2 v_at=4
# q2:f32[1,3,2], k2:f32[1,3,2] = Split(u) @split2 axis=-1 num_outputs=2
# k3:f32[1,3,2] = Add(k2, bk) @k3
# z:f32[1,3,2] = FusedAttention(u, k3, k3) @other heads=1 scale=0.00100000005 width=2 q_at=0
# output y
# output z
# <<<
