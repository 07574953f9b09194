# RMS normalisation in pieces: as LLaMA, T5 and others are exported, and without a scale
#? pass rms
graph rms opset=17
input x:f32[2,3,4]
const scale:f32[4] = {1, 2, 3, 4}
const two:f32[] = {2}
const one:f32[] = {1}
const minus:f32[1] = {-0.5}
const eps:f32[] = {1e-06}
p = Pow(x, two) @pow
v = ReduceMean(p) @mean axes=[-1] keepdims=1
e = Add(v, eps) @eps
r = Sqrt(e) @sqrt
i = Div(one, r) @inverse
n = Mul(x, i) @unit
llama = Mul(scale, n) @llama
s = Mul(x, x) @square
v2 = ReduceMean(s) @mean2 axes=[2]
e2 = Add(eps, v2) @eps2
r2 = Sqrt(e2) @sqrt2
d2 = Div(x, r2) @div2
t5 = Mul(d2, scale) @t5
i3 = Reciprocal(r2) @reciprocal
w3 = Mul(i3, scale) @scaled3
weights = Mul(x, w3) @weights
i4 = Pow(e2, minus) @power4
x4 = Mul(scale, x) @scaled4
last = Mul(x4, i4) @last
i5 = Reciprocal(r) @reciprocal5
plain = Mul(i5, x) @plain
gate = Mul(plain, x) @gate
output llama
output t5
output weights
output last
output gate
# >>> expect
# graph rms opset=17 hash=0000000000000000
# input x:f32[2,3,4]
# const scale:f32[4] = {1, 2, 3, 4}
# const rms.one:f32[1] = {1}
# llama:f32[2,3,4] = RMSNormalization(x, scale) @llama axis=2 epsilon=9.99999997e-07
# t5:f32[2,3,4] = RMSNormalization(x, scale) @t5 axis=2 epsilon=9.99999997e-07
# weights:f32[2,3,4] = RMSNormalization(x, scale) @weights axis=2 epsilon=9.99999997e-07
# last:f32[2,3,4] = RMSNormalization(x, scale) @last axis=2 epsilon=9.99999997e-07
# plain:f32[2,3,4] = RMSNormalization(x, rms.one) @plain axis=2 epsilon=9.99999997e-07
# gate:f32[2,3,4] = Mul(plain, x) @gate
# output llama
# output t5
# output weights
# output last
# output gate
# <<<
