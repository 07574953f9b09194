# A table that is a weight, too: one constant, whether transposed in the graph or by the exporter
#? pass tie
graph tied opset=17
input i:i64[2]
input x:f32[1,2,3]
const w:f32[4,3] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
const t:f32[3,4] = {1, 4, 7, 10, 2, 5, 8, 11, 3, 6, 9, 12}
const same:f32[4,3] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
const other:f32[3,4] = {1, 4, 7, 10, 2, 5, 8, 11, 3, 6, 9, 13}
e = Gather(w, i) @e
wt = Transpose(w) @wt perm=[1,0]
a = MatMul(x, wt) @a
b = MatMul(x, t) @b
c = Gemm(e, same) @c transB=1
d = MatMul(x, other) @d
output a
output b
output c
output d
# >>> expect
# graph tied opset=17 hash=0000000000000000
# input i:i64[2]
# input x:f32[1,2,3]
# const w:f32[4,3] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
# const other:f32[3,4] = {1, 4, 7, 10, 2, 5, 8, 11, 3, 6, 9, 13}
# e:f32[2,3] = Gather(w, i) @e axis=0 tied=1
# a:f32[1,2,4] = MatMulT(x, w) @a
# b:f32[1,2,4] = MatMulT(x, w) @b
# c:f32[2,4] = Gemm(e, w) @c transB=1
# d:f32[1,2,4] = MatMul(x, other) @d
# output a
# output b
# output c
# output d
# <<<
