# What others read, too, stays outside; what makes the result larger does, too
#? pass fuse
graph fuse_stop opset=17
input x:f32[4,8]
input big:f32[2,4,8]
const w:f32[8,8] = #0
a = MatMul(x, w) @mm
b = Relu(a) @relu
c = Add(a, b) @add
d = Add(b, big) @larger
y = Neg(d) @neg
output a
output c
output y
# >>> expect
# graph fuse_stop opset=17 hash=0000000000000000
# input x:f32[4,8]
# input big:f32[2,4,8]
# const w:f32[8,8] = #34c0d99cf5a71a60
# a:f32[4,8] = MatMul(x, w) @mm
# b:f32[4,8] = Relu(a) @relu
# c:f32[4,8] = Add(a, b) @add
# y:f32[2,4,8] = FusedElementwise(; b, big) @neg {3:f32 = Add(0, 1); 4:f32 = Neg(3)}
# output a
# output c
# output y
# <<<
# >>> misses
# Relu @relu: an epilogue: what it reads of MatMul 'mm' is an output of the model
# Add @add: an epilogue: what it reads of MatMul 'mm' is an output of the model
# <<<
