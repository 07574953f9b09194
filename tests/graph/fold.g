# A shape that is computed from the input's shape disappears
#? pass infer
graph fold opset=17
input x:f32[2,3,4]
const minus:i64[1] = {-1}
const zero:i64[] = {0}
s = Shape(x) @shape
n = Gather(s, zero) @take
m = Unsqueeze(n, zero) @up
d = Concat(m, minus) @cat axis=0
y = Reshape(x, d) @reshape
output y
# >>> expect
# graph fold opset=17 hash=0000000000000000
# input x:f32[2,3,4]
# const d:i64[2] = {2, -1}
# y:f32[2,12] = Reshape(x, d) @reshape
# output y
# <<<
