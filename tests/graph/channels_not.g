# What stays: a shift before padding, a result with two readers, a constant over pixels; a
# normalisation without weights beside it becomes a product and a sum
#? pass channels
graph channels_not opset=17
input x:f32[1,2,2,2]
const w:f32[2,2,1,1] = {1,2,3,4}
const s:f32[2,1,1] = {2,3}
const pixels:f32[2,2] = {1,2,3,4}
const gamma:f32[2] = {1,2}
const beta:f32[2] = {0,1}
const mean:f32[2] = {0.5,-1}
const var:f32[2] = {1,4}
a = Add(x, s) @shift
b = Conv(a, w) @padded pads=[1,1,1,1]
c = Relu(b) @relu
d = Mul(b, s) @twice
e = Conv(x, w) @conv
f = Mul(e, pixels) @pixels
n = BatchNormalization(x, gamma, beta, mean, var) @norm epsilon=0.0
r = Relu(n) @after
output c
output d
output f
output r
# >>> expect
# graph channels_not opset=17 hash=0000000000000000
# input x:f32[1,2,2,2]
# const w:f32[2,2,1,1] = {1, 2, 3, 4}
# const s:f32[2,1,1] = {2, 3}
# const pixels:f32[2,2] = {1, 2, 3, 4}
# const norm.scale:f32[2,1,1] = {1, 1}
# const norm.shift:f32[2,1,1] = {-0.5, 2}
# a:f32[1,2,2,2] = Add(x, s) @shift
# b:f32[1,2,4,4] = Conv(a, w) @padded pads=[1,1,1,1]
# c:f32[1,2,4,4] = Relu(b) @relu
# d:f32[1,2,4,4] = Mul(b, s) @twice
# e:f32[1,2,2,2] = Conv(x, w) @conv
# f:f32[1,2,2,2] = Mul(e, pixels) @pixels
# norm.scale.1:f32[1,2,2,2] = Mul(x, norm.scale) @norm.scale
# n:f32[1,2,2,2] = Add(norm.scale.1, norm.shift) @norm
# r:f32[1,2,2,2] = Relu(n) @after
# output c
# output d
# output f
# output r
# <<<
