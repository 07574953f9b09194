# Gemm on flattened leading axes is a MatMul without the views, and an Add
#? pass simplify
graph gemm_flat opset=17
input x:f32[2,2,3]
const flat:i64[2] = {4, 3}
const deep:i64[3] = {2, 2, 2}
const w:f32[3,2] = {1, 2, 3, 4, 5, 6}
const b:f32[2] = {0.5, -0.5}
a = Reshape(x, flat) @down
c = Gemm(a, w, b) @gemm alpha=1.0
d = Reshape(c, deep) @up
y = Relu(d) @relu
output y
# >>> expect
# graph gemm_flat opset=17 hash=0000000000000000
# input x:f32[2,2,3]
# const w:f32[3,2] = {1, 2, 3, 4, 5, 6}
# const b:f32[2] = {0.5, -0.5}
# c:f32[2,2,2] = MatMul(x, w) @gemm
# d:f32[2,2,2] = Add(c, b) @up
# y:f32[2,2,2] = Relu(d) @relu
# output y
# <<<
