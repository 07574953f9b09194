# Normalisations and constants behind and before products become weights and biases
#? pass channels
graph channels opset=17
input x:f32[1,2,3,3]
const w:f32[4,1,1,1] = {1,2,3,4}
const b:f32[4] = {1,0,-1,2}
const gamma:f32[4] = {1,2,0.5,1}
const beta:f32[4] = {0,1,2,3}
const mean:f32[4] = {0.5,-1,0,1}
const var:f32[4] = {1,4,0.25,9}
const half:f32[] = {0.5}
const s:f32[4,1,1] = {2,1,0.5,4}
const t:f32[1,4,1,1] = {3,1,2,0}
const v:f32[1,4,2,2] = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}
const u:f32[2,1] = {1,2}
const k:f32[2] = {10,20}
const k2:f32[1,1,1] = {7}
c = Conv(x, w, b) @conv group=2
n = BatchNormalization(c, gamma, beta, mean, var) @norm epsilon=0.0
m = Mul(half, n) @half
r = Relu(m) @relu
p = Sub(t, r) @before
q = Div(p, s) @scaled
d = Conv(q, v) @plain
e = Mul(r, s) @scale
f = Conv(e, v) @padded pads=[1,1,1,1]
a = Add(d, k2) @far
h = GlobalAveragePool(f) @pool
i = Flatten(h) @flat
j = Gemm(i, u, k) @gemm transB=1
l = Mul(j, k) @columns
output a
output l
# >>> expect
# graph channels opset=17 hash=0000000000000000
# input x:f32[1,2,3,3]
# const i.dims:i64[2] = {1, 1}
# const w.1.1:f32[4,1,1,1] = {0.5, 1, 1.5, 0.666666687}
# const conv.bias.1:f32[4] = {0.25, 1, 0.5, 1.66666663}
# const v.2:f32[1,4,2,2] = {2, 4, 6, 8, 5, 6, 7, 8, 4.5, 5, 5.5, 6, 52, 56, 60, 64}
# const v.1.1.1:f32[1,4,2,2] = {-0.5, -1, -1.5, -2, -5, -6, -7, -8, -18, -20, -22, -24, -3.25, -3.5, -3.75, -4}
# const plain.bias.1:f32[1] = {216}
# const u.1:f32[2,1] = {10, 40}
# const gemm.bias:f32[2] = {100, 400}
# c:f32[1,4,3,3] = Conv(x, w.1.1, conv.bias.1) @conv group=2
# r:f32[1,4,3,3] = Relu(c) @relu
# a:f32[1,1,2,2] = Conv(r, v.1.1.1, plain.bias.1) @plain
# f:f32[1,1,4,4] = Conv(r, v.2) @padded pads=[1,1,1,1]
# h:f32[1,1,1,1] = GlobalAveragePool(f) @pool
# i:f32[1,1] = Reshape(h, i.dims) @flat
# l:f32[1,2] = Gemm(i, u.1, gemm.bias) @gemm transB=1
# output a
# output l
# <<<
