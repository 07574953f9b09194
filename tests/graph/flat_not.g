# Merged rows that meet what was made in the merged form stay merged: a view costs nothing, but
# between a product and its residual it would keep them apart
#? pass tidy
graph flat_not opset=17
input x:f32[2,3,2]
const w:f32[2,2] = {1, 2, 3, 4}
const rows:i64[2] = {-1, 2}
const first:i64[1] = {0}
a = Reshape(x, rows) @merge
b = Gemm(a, w) @product transB=1
c = Add(b, a) @residual
d = ReduceSum(a, first) @columns keepdims=1
y = Mul(c, d) @mul
output y
# >>> expect
# graph flat_not opset=17 hash=0000000000000000
# input x:f32[2,3,2]
# const w:f32[2,2] = {1, 2, 3, 4}
# const first:i64[1] = {0}
# const a.dims:i64[2] = {6, 2}
# a:f32[6,2] = Reshape(x, a.dims) @merge
# b:f32[6,2] = Gemm(a, w) @product transB=1
# c:f32[6,2] = Add(b, a) @residual
# d:f32[1,2] = ReduceSum(a, first) @columns keepdims=1
# y:f32[6,2] = Mul(c, d) @mul
# output y
# <<<
