# Bias, activation and residual go into the MatMul; the residual has another reader
#? pass fuse
graph fuse_matmul opset=17
input x:f32[4,8]
input r:f32[4,8]
const w:f32[8,8] = #0
const b:f32[8] = {1, 2, 3, 4, 5, 6, 7, 8}
a = MatMul(x, w) @mm
c = Add(b, a) @bias
d = Gelu(c) @gelu
y = Add(d, r) @residual
z = Neg(r) @neg
output y
output z
# >>> expect
# graph fuse_matmul opset=17 hash=0000000000000000
# input x:f32[4,8]
# input r:f32[4,8]
# const w:f32[8,8] = #34c0d99cf5a71a60
# const b:f32[8] = {1, 2, 3, 4, 5, 6, 7, 8}
# y:f32[4,8] = MatMul(x, w; b, r) @mm {5:f32 = Add(2, 4); 6:f32 = Gelu(5); 7:f32 = Add(6, 3)}
# z:f32[4,8] = Neg(r) @neg
# output y
# output z
# <<<
