# Equal constants and equal nodes are made once; a different attribute makes a different node
#? pass share
graph share opset=17
input x:f32[2]
const c1:f32[] = {2}
const c2:f32[] = {2}
a = Mul(x, c1) @first
b = Mul(x, c2) @same
d = Elu(a) @e1 alpha=1.5
e = Elu(b) @e2 alpha=1.5
f = Elu(b) @e3 alpha=0.5
g = Add(d, e) @add
y = Sub(g, f) @sub
output y
# >>> expect
# graph share opset=17 hash=0000000000000000
# input x:f32[2]
# const c1:f32[] = {2}
# a:f32[2] = Mul(x, c1) @first
# d:f32[2] = Elu(a) @e1 alpha=1.5
# f:f32[2] = Elu(a) @e3 alpha=0.5
# g:f32[2] = Add(d, d) @add
# y:f32[2] = Sub(g, f) @sub
# output y
# <<<
