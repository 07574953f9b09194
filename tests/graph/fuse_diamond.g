# All readers of the product are in the group, though it has three of them
#? pass fuse
graph fuse_diamond opset=17
input x:f32[4,8]
const w:f32[8,8] = #0
const two:f32[] = {2}
const six:f32[] = {6}
const zero:f32[] = {0}
a = MatMul(x, w) @mm
b = Add(a, two) @two
c = Clip(b, zero, six) @clip
d = Mul(a, c) @mul
y = Div(d, six) @div
output y
# >>> expect
# graph fuse_diamond opset=17 hash=0000000000000000
# input x:f32[4,8]
# const w:f32[8,8] = #34c0d99cf5a71a60
# const two:f32[] = {2}
# const six:f32[] = {6}
# const zero:f32[] = {0}
# y:f32[4,8] = MatMul(x, w; two, zero, six) @mm {6:f32 = Add(5, 2); 7:f32 = Clip(6, 3, 4); 8:f32 = Mul(5, 7); 9:f32 = Div(8, 4)}
# output y
# <<<
