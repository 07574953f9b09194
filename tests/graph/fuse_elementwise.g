# Chains without an operator in front; a small value that is broadcast is computed once, outside
#? pass fuse
graph fuse_elementwise opset=17
input x:f32[2,8]
input s:f32[8]
a = Exp(s) @small
b = Mul(x, a) @mul
c = Tanh(b) @tanh
d = Sub(c, x) @sub
y = Sigmoid(d) @sigmoid
output y
# >>> expect
# graph fuse_elementwise opset=17 hash=0000000000000000
# input x:f32[2,8]
# input s:f32[8]
# a:f32[8] = Exp(s) @small
# y:f32[2,8] = FusedElementwise(; x, a) @sigmoid {3:f32 = Mul(0, 1); 4:f32 = Tanh(3); 5:f32 = Sub(4, 0); 6:f32 = Sigmoid(5)}
# output y
# <<<
