# No RMS normalisation: of another tensor, an axis that is not the last, a power too many
#? pass rms
graph rms_not opset=17
input x:f32[2,4]
input z:f32[2,4]
const two:f32[] = {2}
const eps:f32[] = {1e-06}
p = Pow(x, two) @pow
v = ReduceMean(p) @mean axes=[-1] keepdims=1
e = Add(v, eps) @eps
r = Sqrt(e) @sqrt
other = Div(z, r) @other
v2 = ReduceMean(p) @mean2 axes=[0] keepdims=1
e2 = Add(v2, eps) @eps2
r2 = Sqrt(e2) @sqrt2
axis = Div(x, r2) @axis
twice = Div(axis, r) @twice
output other
output twice
# >>> expect
# graph rms_not opset=17 hash=0000000000000000
# input x:f32[2,4]
# input z:f32[2,4]
# const two:f32[] = {2}
# const eps:f32[] = {9.99999997e-07}
# p:f32[2,4] = Pow(x, two) @pow
# v:f32[2,1] = ReduceMean(p) @mean axes=[-1] keepdims=1
# e:f32[2,1] = Add(v, eps) @eps
# r:f32[2,1] = Sqrt(e) @sqrt
# other:f32[2,4] = Div(z, r) @other
# v2:f32[1,4] = ReduceMean(p) @mean2 axes=[0] keepdims=1
# e2:f32[1,4] = Add(v2, eps) @eps2
# r2:f32[1,4] = Sqrt(e2) @sqrt2
# axis:f32[2,4] = Div(x, r2) @axis
# twice:f32[2,4] = Div(axis, r) @twice
# output other
# output twice
# <<<
