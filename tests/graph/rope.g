# Rotary embedding: halves by Slices and by Split; halves mixed one by one; [B,S,H,D]
#? pass rope
graph rope opset=17
input flat:f32[1,3,8]
input x:f32[1,2,3,4]
input cos:f32[1,3,4]
input sin:f32[1,3,4]
input c:f32[1,1,3,2]
input s:f32[1,1,3,2]
input z:f32[1,3,2,4]
const hd:i64[4] = {1, 3, 2, 4}
const ud:i64[4] = {1, 1, 3, 4}
const zd:i64[4] = {1, 3, 1, 4}
const zero:i64[1] = {0}
const two:i64[1] = {2}
const minus2:i64[1] = {-2}
const last:i64[1] = {3}
const far:i64[1] = {9223372036854775807}
cu = Reshape(cos, ud) @cu
su = Reshape(sin, ud) @su
heads = Reshape(flat, hd) @heads
q = Transpose(heads) @q perm=[0,2,1,3]
qc = Mul(q, cu) @qc
q1 = Slice(q, zero, two, last) @q1
q2 = Slice(q, two, far, last) @q2
qn = Neg(q2) @qn
qr = Concat(qn, q1) @qr axis=-1
qs = Mul(qr, su) @qs
qy = Add(qc, qs) @qy
x1, x2 = Split(x) @split axis=-1
xn = Neg(x2) @xn
xr = Concat(xn, x1) @xr axis=3
xs = Mul(su, xr) @xs
xc = Mul(cu, x) @xc
xy = Add(xs, xc) @xy
h1 = Slice(x, zero, two, last) @h1
h2 = Slice(x, minus2, far, last) @h2
a1 = Mul(h1, c) @a1
a2 = Mul(h2, s) @a2
b1 = Mul(c, h2) @b1
b2 = Mul(h1, s) @b2
a = Sub(a1, a2) @a
b = Add(b2, b1) @b
hy = Concat(a, b) @hy axis=-1
cz = Reshape(cos, zd) @cz
sz = Reshape(sin, zd) @sz
z1, z2 = Split(z) @zsplit axis=3
zn = Neg(z2) @zn
zr = Concat(zn, z1) @zr axis=-1
zs = Mul(zr, sz) @zs
zc = Mul(z, cz) @zc
zy = Add(zc, zs) @zy
output qy
output xy
output hy
output zy
# >>> expect
# graph rope opset=17 hash=0000000000000000
# input flat:f32[1,3,8]
# input x:f32[1,2,3,4]
# input cos:f32[1,3,4]
# input sin:f32[1,3,4]
# input c:f32[1,1,3,2]
# input s:f32[1,1,3,2]
# input z:f32[1,3,2,4]
# const ud:i64[4] = {1, 1, 3, 4}
# const zd:i64[4] = {1, 3, 1, 4}
# cu:f32[1,1,3,4] = Reshape(cos, ud) @cu
# su:f32[1,1,3,4] = Reshape(sin, ud) @su
# qy:f32[1,2,3,4] = FusedRope(flat, cu, su) @qy heads=2 rotary=4 from=0 to=1
# xy:f32[1,2,3,4] = FusedRope(x, cu, su) @xy heads=2 rotary=4 from=1 to=1
# hy:f32[1,2,3,4] = FusedRope(x, c, s) @hy heads=2 rotary=4 from=1 to=1
# cz:f32[1,3,1,4] = Reshape(cos, zd) @cz
# sz:f32[1,3,1,4] = Reshape(sin, zd) @sz
# zy:f32[1,3,2,4] = FusedRope(z, cz, sz) @zy heads=2 rotary=4 from=2 to=2
# output qy
# output xy
# output hy
# output zy
# <<<
