# Squeeze and excite: products of one pixel are those of a row
#? pass views
graph squeeze opset=17
input x:f32[1,2,3,3]
const w:f32[3,2,1,1] = {1,2,3,4,5,6}
const b:f32[3] = {1,-1,0}
const v:f32[2,3,1,1] = {1,2,3,4,5,6}
a = GlobalAveragePool(x) @pool
c = Conv(a, w, b) @squeeze
d = Relu(c) @relu
e = Conv(d, v) @excite
f = HardSigmoid(e) @gate
y = Mul(x, f) @scale
output y
# >>> expect
# graph squeeze opset=17 hash=0000000000000000
# input x:f32[1,2,3,3]
# const b:f32[3] = {1, -1, 0}
# const squeeze.row.1:f32[3,2] = {1, 2, 3, 4, 5, 6}
# const squeeze.row.dims:i64[2] = {1, 2}
# const excite.row.1:f32[2,3] = {1, 2, 3, 4, 5, 6}
# const f.dims:i64[4] = {1, 2, 1, 1}
# a:f32[1,2,1,1] = GlobalAveragePool(x) @pool
# squeeze.row:f32[1,2] = Reshape(a, squeeze.row.dims) @squeeze.row
# c:f32[1,3] = Gemm(squeeze.row, squeeze.row.1, b) @squeeze transB=1
# d.1:f32[1,3] = Relu(c) @relu
# e:f32[1,2] = Gemm(d.1, excite.row.1) @excite transB=1
# f.1:f32[1,2] = HardSigmoid(e) @gate
# f:f32[1,2,1,1] = Reshape(f.1, f.dims) @gate.pixel
# y:f32[1,2,3,3] = Mul(x, f) @scale
# output y
# <<<
