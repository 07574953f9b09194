# SiLU
#? pass gelu
graph silu opset=17
input x:f32[4]
a = Sigmoid(x) @sigmoid
y = Mul(x, a) @mul
output y
# >>> expect
# graph silu opset=17 hash=0000000000000000
# input x:f32[4]
# y:f32[4] = Silu(x) @mul
# output y
# <<<
