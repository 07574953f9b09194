# Nearly GELU: another constant, another x
#? pass gelu
graph gelu_not opset=17
input x:f32[4]
input s:f32[4]
const root:f32[] = {1.5}
const two:f32[] = {1.41421354}
const one:f32[] = {1}
const half:f32[] = {0.5}
a = Div(x, root) @div
b = Erf(a) @erf
c = Add(b, one) @add
d = Mul(x, c) @mul
y = Mul(d, half) @half
e = Div(s, two) @div2
f = Erf(e) @erf2
g = Add(f, one) @add2
h = Mul(x, g) @mul2
z = Mul(h, half) @half2
output y
output z
# >>> expect
# graph gelu_not opset=17 hash=0000000000000000
# input x:f32[4]
# input s:f32[4]
# const root:f32[] = {1.5}
# const two:f32[] = {1.41421354}
# const one:f32[] = {1}
# const half:f32[] = {0.5}
# a:f32[4] = Div(x, root) @div
# b:f32[4] = Erf(a) @erf
# c:f32[4] = Add(b, one) @add
# d:f32[4] = Mul(x, c) @mul
# y:f32[4] = Mul(d, half) @half
# e:f32[4] = Div(s, two) @div2
# f:f32[4] = Erf(e) @erf2
# g:f32[4] = Add(f, one) @add2
# h:f32[4] = Mul(x, g) @mul2
# z:f32[4] = Mul(h, half) @half2
# output y
# output z
# <<<
# >>> misses
# Erf @erf: Gelu: its constants or factors are not those of x * 0.5 * (1 + Erf(..x..))
# Erf @erf2: Gelu: its constants or factors are not those of x * 0.5 * (1 + Erf(..x..))
# <<<
