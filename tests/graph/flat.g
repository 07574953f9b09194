# Leading axes merged for two Gemms and split again: both become products of the rows, and the
# Reshapes go
#? pass tidy
graph flat opset=17
input x:f32[2,3,4]
const w:f32[4,2] = {1, 2, 3, 4, 5, 6, 7, 8}
const b:f32[2] = {0.5, -0.5}
const v:f32[2,4] = {1, 2, 3, 4, 5, 6, 7, 8}
const rows:i64[2] = {-1, 4}
const back:i64[3] = {2, 3, 4}
const two:f32[] = {2}
a = Reshape(x, rows) @merge
c = Gemm(a, w, b) @up
d = Relu(c) @relu
e = Mul(d, two) @twice
f = Softmax(e) @softmax axis=1
g = Gemm(f, v) @down
h = Reshape(g, back) @split
y = Add(h, x) @residual
output y
# >>> expect
# graph flat opset=17 hash=0000000000000000
# input x:f32[2,3,4]
# const w:f32[4,2] = {1, 2, 3, 4, 5, 6, 7, 8}
# const b:f32[2] = {0.5, -0.5}
# const v:f32[2,4] = {1, 2, 3, 4, 5, 6, 7, 8}
# const two:f32[] = {2}
# c.1:f32[2,3,2] = MatMul(x, w) @up
# c.2:f32[2,3,2] = Add(c.1, b) @up
# d.1:f32[2,3,2] = Relu(c.2) @relu
# e.1:f32[2,3,2] = Mul(d.1, two) @twice
# f.1:f32[2,3,2] = Softmax(e.1) @softmax axis=-1
# g.1:f32[2,3,4] = MatMul(f.1, v) @down
# y:f32[2,3,4] = Add(g.1, x) @residual
# output y
# <<<
