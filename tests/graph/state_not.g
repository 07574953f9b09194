# Not caches: the input comes second, the axis is inside, nothing reads the result
#? pass state
graph state opset=17
input x:f32[1,2,1,2]
input a:f32[1,2,3,2]
input b:f32[2,2,3,2]
input c:f32[1,2,3,2]
n = Neg(x) @n
second = Concat(n, a) @second axis=2
m = Transpose(second) @m perm=[0,1,3,2]
s = MatMul(x, m) @s
e = Neg(b) @e
inside = Concat(b, e) @inside axis=1
i = Transpose(inside) @i perm=[0,1,3,2]
u = MatMul(inside, i) @u
unread = Concat(c, n) @unread axis=2
output second
output s
output inside
output u
output unread
# >>> expect
# graph state opset=17 hash=0000000000000000
# input x:f32[1,2,1,2]
# input a:f32[1,2,3,2]
# input b:f32[2,2,3,2]
# input c:f32[1,2,3,2]
# n:f32[1,2,1,2] = Neg(x) @n
# second:f32[1,2,4,2] = Concat(n, a) @second axis=2
# m:f32[1,2,2,4] = Transpose(second) @m perm=[0,1,3,2]
# s:f32[1,2,1,4] = MatMul(x, m) @s
# e:f32[2,2,3,2] = Neg(b) @e
# inside:f32[2,4,3,2] = Concat(b, e) @inside axis=1
# i:f32[2,4,2,3] = Transpose(inside) @i perm=[0,1,3,2]
# u:f32[2,4,3,3] = MatMul(inside, i) @u
# unread:f32[1,2,4,2] = Concat(c, n) @unread axis=2
# output second
# output s
# output inside
# output u
# output unread
# <<<
