# GELU in two orders of its factors; x is itself a product in the second
#? pass gelu
graph gelu_erf opset=17
input x:f32[4]
input s:f32[4]
const root:f32[] = {1.41421354}
const inverse:f32[] = {0.707106769}
const one:f32[] = {1}
const half:f32[] = {0.5}
a = Div(x, root) @div
b = Erf(a) @erf
c = Add(b, one) @add
d = Mul(x, c) @mul
y = Mul(d, half) @half
p = Mul(x, s) @product
e = Mul(p, inverse) @mul2
f = Erf(e) @erf2
g = Add(one, f) @add2
h = Mul(half, g) @half2
z = Mul(h, p) @last
output y
output z
# >>> expect
# graph gelu_erf opset=17 hash=0000000000000000
# input x:f32[4]
# input s:f32[4]
# y:f32[4] = Gelu(x) @half
# p:f32[4] = Mul(x, s) @product
# z:f32[4] = Gelu(p) @last
# output y
# output z
# <<<
