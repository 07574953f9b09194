# Nearly layer normalisations: a variable epsilon, a scale for each row, a mean over rows
#? pass norm
graph miss_norm opset=17
input x:f32[4,8]
input e:f32[]
const eps:f32[] = {1e-5}
const two:f32[] = {2}
const scale:f32[8] = {1, 2, 3, 4, 5, 6, 7, 8}
const rows:f32[4,1] = {1, 2, 3, 4}
m = ReduceMean(x) @mean axes=[-1]
d = Sub(x, m) @diff
q = Pow(d, two) @square
v = ReduceMean(q) @var axes=[-1]
a = Add(v, e) @eps
r = Sqrt(a) @root
n = Div(d, r) @div
y = Mul(n, scale) @scale
a2 = Add(v, eps) @eps2
r2 = Sqrt(a2) @root2
n2 = Div(d, r2) @div2
y2 = Mul(n2, rows) @scale2
v3 = ReduceMean(q) @var3 axes=[0]
a3 = Add(v3, eps) @eps3
r3 = Sqrt(a3) @root3
n3 = Div(d, r3) @div3
y3 = Mul(n3, scale) @scale3
n4 = Div(x, r2) @div4
y4 = Mul(n4, scale) @scale4
output y
output y2
output y3
output y4
# >>> expect
# graph miss_norm opset=17 hash=0000000000000000
# input x:f32[4,8]
# input e:f32[]
# const eps:f32[] = {9.99999975e-06}
# const two:f32[] = {2}
# const scale:f32[8] = {1, 2, 3, 4, 5, 6, 7, 8}
# const rows:f32[4,1] = {1, 2, 3, 4}
# m:f32[4,1] = ReduceMean(x) @mean axes=[-1]
# d:f32[4,8] = Sub(x, m) @diff
# q:f32[4,8] = Pow(d, two) @square
# v:f32[4,1] = ReduceMean(q) @var axes=[-1]
# a:f32[4,1] = Add(v, e) @eps
# r:f32[4,1] = Sqrt(a) @root
# n:f32[4,8] = Div(d, r) @div
# y:f32[4,8] = Mul(n, scale) @scale
# a2:f32[4,1] = Add(v, eps) @eps2
# r2:f32[4,1] = Sqrt(a2) @root2
# n2:f32[4,8] = Div(d, r2) @div2
# y2:f32[4,8] = Mul(n2, rows) @scale2
# v3:f32[1,8] = ReduceMean(q) @var3 axes=[0]
# a3:f32[1,8] = Add(v3, eps) @eps3
# r3:f32[1,8] = Sqrt(a3) @root3
# n3:f32[4,8] = Div(d, r3) @div3
# y3:f32[4,8] = Mul(n3, scale) @scale3
# n4:f32[4,8] = Div(x, r2) @div4
# y4:f32[4,8] = Mul(n4, scale) @scale4
# output y
# output y2
# output y3
# output y4
# <<<
# >>> misses
# Div @div: LayerNormalization: what is added to the variance is no constant
# Div @div2: LayerNormalization: its scale 'rows' has not the shape of the last axes
# Div @div3: LayerNormalization: mean and variance are not over the same last axes, which stay as 1
# Div @div4: LayerNormalization: it does not divide the differences whose squares 'var' takes the mean of
# <<<
