# A merged product with its biases behind the Split: one bias in front of it is part of the product.
# A part that is the graph's output keeps its name
#? pass moves
graph split_bias opset=17
input x:f32[2,3]
const w:f32[3,4] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
const parts:i64[2] = {1, 3}
const a:f32[1] = {0.5}
const b:f32[3] = {1, 2, 3}
p = MatMul(x, w) @product
q, r = Split(p, parts) @split axis=-1
q1 = Add(a, q) @qa
y = Add(r, b) @rb
z = Relu(q1) @relu
output y
output z
# >>> expect
# graph split_bias opset=17 hash=0000000000000000
# input x:f32[2,3]
# const w:f32[3,4] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
# const parts:i64[2] = {1, 3}
# const a.1:f32[4] = {0.5, 1, 2, 3}
# p:f32[2,4] = MatMul(x, w) @product
# p.1:f32[2,4] = Add(p, a.1) @qa
# q:f32[2,1], y:f32[2,3] = Split(p.1, parts) @split axis=-1
# z:f32[2,1] = Relu(q) @relu
# output y
# output z
# <<<
