# What changes nothing goes: Identity, Cast to the same type, Dropout, Reshape to the same shape,
# neutral constants; the output keeps its name
#? pass simplify
graph copies opset=17
input x:f32[2,3]
const dims:i64[2] = {2, -1}
const one:f32[] = {1}
const zero:f32[1] = {0}
a = Relu(x) @relu
b = Identity(a) @id
c = Cast(b) @cast to=1
d, mask = Dropout(c) @drop
e = Reshape(d, dims) @reshape
f = Mul(one, e) @mul
g = Sub(f, zero) @sub
y = Transpose(g) @transpose perm=[0,1]
output y
# >>> expect
# graph copies opset=17 hash=0000000000000000
# input x:f32[2,3]
# y:f32[2,3] = Relu(x) @relu
# output y
# <<<
