# Layer normalisation in pieces, with bias; the square as a power, and as a product
#? pass norm
graph norm opset=17
input x:f32[2,4]
const scale:f32[4] = {1, 2, 3, 4}
const bias:f32[4] = {0, 1, 0, 1}
const two:f32[] = {2}
const eps:f32[] = {1e-05}
m = ReduceMean(x) @mean axes=[-1] keepdims=1
d = Sub(x, m) @sub
p = Pow(d, two) @pow
v = ReduceMean(p) @var axes=[-1] keepdims=1
e = Add(v, eps) @eps
r = Sqrt(e) @sqrt
n = Div(d, r) @div
s = Mul(n, scale) @scale
y = Add(s, bias) @bias
p2 = Mul(d, d) @square
v2 = ReduceMean(p2) @var2 axes=[1]
e2 = Add(eps, v2) @eps2
r2 = Sqrt(e2) @sqrt2
n2 = Div(d, r2) @div2
z = Mul(scale, n2) @scale2
output y
output z
# >>> expect
# graph norm opset=17 hash=0000000000000000
# input x:f32[2,4]
# const scale:f32[4] = {1, 2, 3, 4}
# const bias:f32[4] = {0, 1, 0, 1}
# y:f32[2,4] = LayerNormalization(x, scale, bias) @bias axis=1 epsilon=9.99999975e-06
# z:f32[2,4] = LayerNormalization(x, scale) @scale2 axis=1 epsilon=9.99999975e-06
# output y
# output z
# <<<
