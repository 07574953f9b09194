# Hard swish, with the gate as exporters write it
#? pass gelu
graph hard_swish opset=17
input x:f32[2,3]
const three:f32[] = {3}
const six:f32[] = {6}
const zero:f32[] = {0}
a = Add(x, three) @shift
b = Clip(a, zero, six) @clip
c = Mul(x, b) @mul
y = Div(c, six) @sixth
d = HardSigmoid(y) @hard alpha=0.16666667163372
z = Mul(d, y) @swish
e = HardSigmoid(z) @other
o = Mul(z, e) @not
output o
# >>> expect
# graph hard_swish opset=17 hash=0000000000000000
# input x:f32[2,3]
# y:f32[2,3] = HardSwish(x) @sixth
# z:f32[2,3] = HardSwish(y) @swish
# e:f32[2,3] = HardSigmoid(z) @other
# o:f32[2,3] = Mul(z, e) @not
# output o
# <<<
