# The tanh form, with Pow and with x * x * x, and the fast form that has x in front
#? pass gelu
graph gelu_tanh opset=17
input x:f32[4]
const three:f32[] = {3}
const cubic:f32[] = {0.0447149985}
const root:f32[] = {0.797884583}
const one:f32[] = {1}
const half:f32[] = {0.5}
a = Pow(x, three) @pow
b = Mul(a, cubic) @cubic
c = Add(x, b) @add
d = Mul(c, root) @root
e = Tanh(d) @tanh
f = Add(e, one) @one
g = Mul(x, half) @half
y = Mul(g, f) @mul
aa = Mul(x, x) @square
ab = Mul(aa, x) @cube
ac = Mul(cubic, ab) @cubic2
ad = Add(x, ac) @add2
ae = Mul(root, ad) @root2
af = Tanh(ae) @tanh2
ag = Add(one, af) @one2
ah = Mul(x, ag) @mul2
z = Mul(half, ah) @half2
ba = Mul(x, root) @scaled
bb = Mul(x, cubic) @c3
bc = Mul(bb, x) @c4
bd = Add(one, bc) @c5
be = Mul(ba, bd) @c6
bf = Tanh(be) @tanh3
bg = Add(one, bf) @one3
bh = Mul(half, x) @half3
u = Mul(bh, bg) @mul3
output y
output z
output u
# >>> expect
# graph gelu_tanh opset=17 hash=0000000000000000
# input x:f32[4]
# y:f32[4] = Gelu(x) @mul approximate="tanh"
# z:f32[4] = Gelu(x) @half2 approximate="tanh"
# u:f32[4] = Gelu(x) @mul3 approximate="tanh"
# output y
# output z
# output u
# <<<
