# The sum of two products goes into the later one, whose result nobody else needs
#? pass fuse
graph fuse_two opset=17
input x:f32[4,8]
input u:f32[4,8]
const w:f32[8,8] = #0
a = MatMul(u, w) @first
b = MatMul(x, w) @second
y = Add(a, b) @add
output y
# >>> expect
# graph fuse_two opset=17 hash=0000000000000000
# input x:f32[4,8]
# input u:f32[4,8]
# const w:f32[8,8] = #34c0d99cf5a71a60
# a:f32[4,8] = MatMul(u, w) @first
# y:f32[4,8] = MatMul(x, w; a) @second {4:f32 = Add(2, 3)}
# output y
# <<<
