# Views of views become one Reshape of the first
#? pass simplify
graph reshapes opset=17
input x:f32[2,3,4]
const dims:i64[3] = {3, 2, -1}
const axes:i64[1] = {1}
a = Flatten(x) @flatten axis=2
b = Unsqueeze(a, axes) @unsqueeze
c = Reshape(b, dims) @reshape
y = Neg(c) @neg
z = Relu(b) @relu
output y
output z
# >>> expect
# graph reshapes opset=17 hash=0000000000000000
# input x:f32[2,3,4]
# const b.dims:i64[3] = {6, 1, 4}
# const c.dims:i64[3] = {3, 2, 4}
# b:f32[6,1,4] = Reshape(x, b.dims) @unsqueeze
# c:f32[3,2,4] = Reshape(x, c.dims) @reshape
# y:f32[3,2,4] = Neg(c) @neg
# z:f32[6,1,4] = Relu(b) @relu
# output y
# output z
# <<<
