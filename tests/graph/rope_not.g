# No rotary embedding: the wrong half is negative, halves of two tensors, angles by head
#? pass rope
graph rope_not opset=17
input x:f32[1,2,3,4]
input z:f32[1,2,3,4]
input cos:f32[1,1,3,4]
input sin:f32[1,1,3,4]
input by_head:f32[1,2,1,4]
x1, x2 = Split(x) @split axis=3
z1, z2 = Split(z) @zsplit axis=3
xc = Mul(x, cos) @xc
n1 = Neg(x1) @n1
r1 = Concat(x2, n1) @r1 axis=-1
s1 = Mul(r1, sin) @s1
y1 = Add(xc, s1) @y1
n2 = Neg(z2) @n2
r2 = Concat(n2, x1) @r2 axis=-1
s2 = Mul(r2, sin) @s2
y2 = Add(xc, s2) @y2
n3 = Neg(x2) @n3
r3 = Concat(n3, x1) @r3 axis=-1
s3 = Mul(r3, by_head) @s3
y3 = Add(xc, s3) @y3
output y1
output y2
output y3
# >>> expect
# graph rope_not opset=17 hash=0000000000000000
# input x:f32[1,2,3,4]
# input z:f32[1,2,3,4]
# input cos:f32[1,1,3,4]
# input sin:f32[1,1,3,4]
# input by_head:f32[1,2,1,4]
# x1:f32[1,2,3,2], x2:f32[1,2,3,2] = Split(x) @split axis=3
# z1:f32[1,2,3,2], z2:f32[1,2,3,2] = Split(z) @zsplit axis=3
# xc:f32[1,2,3,4] = Mul(x, cos) @xc
# n1:f32[1,2,3,2] = Neg(x1) @n1
# r1:f32[1,2,3,4] = Concat(x2, n1) @r1 axis=-1
# s1:f32[1,2,3,4] = Mul(r1, sin) @s1
# y1:f32[1,2,3,4] = Add(xc, s1) @y1
# n2:f32[1,2,3,2] = Neg(z2) @n2
# r2:f32[1,2,3,4] = Concat(n2, x1) @r2 axis=-1
# s2:f32[1,2,3,4] = Mul(r2, sin) @s2
# y2:f32[1,2,3,4] = Add(xc, s2) @y2
# n3:f32[1,2,3,2] = Neg(x2) @n3
# r3:f32[1,2,3,4] = Concat(n3, x1) @r3 axis=-1
# s3:f32[1,2,3,4] = Mul(r3, by_head) @s3
# y3:f32[1,2,3,4] = Add(xc, s3) @y3
# output y1
# output y2
# output y3
# <<<
