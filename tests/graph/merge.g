# Products of one input that an attention reads become one; a missing bias is zeros. Of the second
# attention only keys and values have the same input; the third's are read by others, too
#? pass merge
graph merge opset=18
input x:f32[1,3,4]
input c:f32[1,2,4]
const wq:f32[4,4] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
const wk:f32[4,2] = {1, 2, 3, 4, 5, 6, 7, 8}
const wv:f32[4,2] = {-1, -2, -3, -4, -5, -6, -7, -8}
const wu:f32[4,2] = {2, 0, 1, 0, 2, 0, 1, 1}
const bq:f32[4] = {1, 2, 3, 4}
const bv:f32[2] = {-1, -2}
q1 = MatMul(x, wq) @q1
q = Add(bq, q1) @q
k = MatMul(x, wk) @k
v1 = MatMul(x, wv) @v1
v = Add(v1, bv) @v
y = FusedAttention(q, k, v) @self heads=2 kv_heads=1 scale=0.001
q2 = MatMul(y, wk) @q2
k2 = MatMul(c, wk) @k2
v2 = MatMul(c, wv) @v2
z = FusedAttention(q2, k2, v2) @cross heads=1 scale=0.001
k3 = MatMul(c, wu) @k3
v3 = MatMul(c, wq) @v3
u = FusedAttention(y, k3, v3) @shared heads=2 kv_heads=1 scale=0.001
r = Neg(k3) @neg
output y
output z
output u
output r
# >>> expect
# graph merge opset=18 hash=0000000000000000
# input x:f32[1,3,4]
# input c:f32[1,2,4]
# const wq:f32[4,4] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
# const wk:f32[4,2] = {1, 2, 3, 4, 5, 6, 7, 8}
# const wu:f32[4,2] = {2, 0, 1, 0, 2, 0, 1, 1}
# const wq.merged:f32[4,8] = #83264fa66a738b14
# const wq.biases:f32[8] = {1, 2, 3, 4, 0, 0, -1, -2}
# const wk.merged:f32[4,4] = {1, 2, -1, -2, 3, 4, -3, -4, 5, 6, -5, -6, 7, 8, -7, -8}
# q.merged:f32[1,3,8] = MatMul(x, wq.merged; wq.biases) @q1 {4:f32 = Add(3, 2)}
# y:f32[1,3,4] = FusedAttention(q.merged, q.merged, q.merged) @self heads=2 kv_heads=1 scale=0.00100000005 width=2 q_at=0 k_at=4 v_width=2 v_at=6
# q2:f32[1,3,2] = MatMul(y, wk) @q2
# k2.merged:f32[1,2,4] = MatMul(c, wk.merged) @k2
# z:f32[1,3,2] = FusedAttention(q2, k2.merged, k2.merged) @cross heads=1 scale=0.00100000005 width=2 k_at=0 v_width=2 v_at=2
# k3:f32[1,2,2] = MatMul(c, wu) @k3
# v3:f32[1,2,4] = MatMul(c, wq) @v3
# u:f32[1,3,8] = FusedAttention(y, k3, v3) @shared heads=2 kv_heads=1 scale=0.00100000005
# r:f32[1,2,2] = Neg(k3) @neg
# output y
# output z
# output u
# output r
# <<<
# >>> misses
# Neg @neg: an epilogue: what it reads of MatMul 'k3' is read by 'shared', too
# <<<
