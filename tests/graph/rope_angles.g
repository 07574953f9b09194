# Angles computed from positions, repeated for both halves: half of them is enough
#? pass rope
graph rope_angles opset=17
input x:f32[1,2,3,4]
input f:f32[1,3,2]
const ud:i64[4] = {1, 1, 3, 4}
const scale:f32[] = {1.5}
ff = Concat(f, f) @ff axis=-1
c = Cos(ff) @c
s = Sin(ff) @s
cm = Mul(c, scale) @cm
sm = Mul(scale, s) @sm
cu = Reshape(cm, ud) @cu
su = Reshape(sm, ud) @su
xc = Mul(x, cu) @xc
x1, x2 = Split(x) @split axis=-1
xn = Neg(x2) @xn
xr = Concat(xn, x1) @xr axis=-1
xs = Mul(xr, su) @xs
y = Add(xc, xs) @y
output y
output s
# >>> expect
# graph rope_angles opset=17 hash=0000000000000000
# input x:f32[1,2,3,4]
# input f:f32[1,3,2]
# const scale:f32[] = {1.5}
# const cu.dims:i64[4] = {1, 1, 3, 2}
# const su.dims:i64[4] = {1, 1, 3, 2}
# ff:f32[1,3,4] = Concat(f, f) @ff axis=-1
# s:f32[1,3,4] = Sin(ff) @s
# c.1:f32[1,3,2] = Cos(f) @c
# cm.1:f32[1,3,2] = Mul(c.1, scale) @cm
# cu.1:f32[1,1,3,2] = Reshape(cm.1, cu.dims) @cu
# s.1:f32[1,3,2] = Sin(f) @s
# sm.1:f32[1,3,2] = Mul(s.1, scale) @sm
# su.1:f32[1,1,3,2] = Reshape(sm.1, su.dims) @su
# y:f32[1,2,3,4] = FusedRope(x, cu.1, su.1) @y heads=2 rotary=4 from=1 to=1
# output y
# output s
# <<<
