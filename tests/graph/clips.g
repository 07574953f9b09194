# Bounds and hard sigmoids in other words
#? pass clips
graph clips opset=17
input x:f32[2,3]
const three:f32[] = {3}
const six:f32[] = {6}
const sixth:f32[] = {0.16666667}
const zero:f32[] = {0}
const one:f32[] = {1}
const half:f32[1] = {0.5}
const low:f32[] = {-2}
a = Relu(x) @relu
b = Min(six, a) @relu6
c = Add(b, three) @shift
d = Clip(c, zero, six) @clip
e = Div(d, six) @gate
f = Mul(x, half) @slope
h = Add(half, f) @offset
i = Clip(h, zero, one) @hard
j = Max(x, low) @max
k = Clip(j, -, one) @both
l = Add(x, three) @shift2
m = Clip(l, zero, three) @clip2
n = Mul(m, sixth) @not
output e
output i
output k
output n
# >>> expect
# graph clips opset=17 hash=0000000000000000
# input x:f32[2,3]
# const three:f32[] = {3}
# const sixth:f32[] = {0.166666672}
# const zero:f32[] = {0}
# const relu6.bound:f32[] = {0}
# const relu6.bound.1:f32[] = {6}
# const both.bound:f32[] = {-2}
# const both.bound.1:f32[] = {1}
# b:f32[2,3] = Clip(x, relu6.bound, relu6.bound.1) @relu6
# e:f32[2,3] = HardSigmoid(b) @gate alpha=0.166666672 beta=0.5
# i:f32[2,3] = HardSigmoid(x) @hard alpha=0.5 beta=0.5
# k:f32[2,3] = Clip(x, both.bound, both.bound.1) @both
# l:f32[2,3] = Add(x, three) @shift2
# m:f32[2,3] = Clip(l, zero, three) @clip2
# n:f32[2,3] = Mul(m, sixth) @not
# output e
# output i
# output k
# output n
# <<<
