# A Reshape that drops axes of length 1 moves behind the transpose, where it meets its inverse
#? pass simplify
graph transpose_squeezed opset=17
input x:f32[1,2,3,4]
const down:i64[3] = {-1, 3, 4}
const up:i64[4] = {1, 2, 4, 3}
a = Reshape(x, down) @squeeze
b = Transpose(a) @swap perm=[0,2,1]
c = Reshape(b, up) @unsqueeze
y = Relu(c) @relu
output y
# >>> expect
# graph transpose_squeezed opset=17 hash=0000000000000000
# input x:f32[1,2,3,4]
# b:f32[1,2,4,3] = Transpose(x) @swap perm=[0,1,3,2]
# y:f32[1,2,4,3] = Relu(b) @relu
# output y
# <<<
