# Element-wise nodes that stay alone: a value with two readers, one that is broadcast
#? pass fuse
graph miss_fuse opset=17
input x:f32[8,8]
input w:f32[8,8]
input z:f32[4,8,8]
m = MatMul(x, w) @product
r = Relu(m) @relu
s = Softmax(m) @softmax axis=-1
n = MatMul(x, x) @other
b = Add(n, z) @wide
output r
output s
output b
# >>> expect
# graph miss_fuse opset=17 hash=0000000000000000
# input x:f32[8,8]
# input w:f32[8,8]
# input z:f32[4,8,8]
# m:f32[8,8] = MatMul(x, w) @product
# r:f32[8,8] = Relu(m) @relu
# s:f32[8,8] = Softmax(m) @softmax axis=-1
# n:f32[8,8] = MatMul(x, x) @other
# b:f32[4,8,8] = Add(n, z) @wide
# output r
# output s
# output b
# <<<
# >>> misses
# Relu @relu: an epilogue: what it reads of MatMul 'product' is read by 'softmax', too
# Add @wide: an epilogue: it broadcasts what it reads of MatMul 'other'
# <<<
