# Rotary embedding of the first columns only, as GPT-NeoX and Phi do
#? pass rope
graph rope_partial opset=17
input flat:f32[2,3,12]
input cos:f32[1,1,3,4]
input sin:f32[1,1,3,4]
const hd:i64[4] = {2, 3, 2, 6}
const zero:i64[1] = {0}
const two:i64[1] = {2}
const four:i64[1] = {4}
const far:i64[1] = {9223372036854775807}
const last:i64[1] = {3}
heads = Reshape(flat, hd) @heads
q = Transpose(heads) @q perm=[0,2,1,3]
x = Slice(q, zero, four, last) @turns
rest = Slice(q, four, far, last) @rest
xc = Mul(x, cos) @xc
x1 = Slice(x, zero, two, last) @x1
x2 = Slice(x, two, far, last) @x2
xn = Neg(x2) @xn
xr = Concat(xn, x1) @xr axis=-1
xs = Mul(xr, sin) @xs
xy = Add(xc, xs) @xy
y = Concat(xy, rest) @y axis=-1
output y
# >>> expect
# graph rope_partial opset=17 hash=0000000000000000
# input flat:f32[2,3,12]
# input cos:f32[1,1,3,4]
# input sin:f32[1,1,3,4]
# y:f32[2,2,3,6] = FusedRope(flat, cos, sin) @y heads=2 rotary=4 from=0 to=1
# output y
# <<<
