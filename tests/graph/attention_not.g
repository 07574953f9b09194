# No attention: the softmax is over another axis
#? pass views
graph attention_not opset=17
input q:f32[1,2,3,2]
input k:f32[1,2,3,2]
input v:f32[1,2,3,2]
const yd:i64[3] = {1, 3, 4}
k2 = Transpose(k) @k2 perm=[0,1,3,2]
s = MatMul(q, k2) @scores
p = Softmax(s) @softmax axis=2
o = MatMul(p, v) @out
o1 = Transpose(o) @o1 perm=[0,2,1,3]
y = Reshape(o1, yd) @o2
output y
# >>> expect
# graph attention_not opset=17 hash=0000000000000000
# input q:f32[1,2,3,2]
# input k:f32[1,2,3,2]
# input v:f32[1,2,3,2]
# const yd:i64[3] = {1, 3, 4}
# k2:f32[1,2,2,3] = Transpose(k) @k2 perm=[0,1,3,2]
# s:f32[1,2,3,3] = MatMul(q, k2) @scores
# p:f32[1,2,3,3] = Softmax(s) @softmax axis=2
# o:f32[1,2,3,2] = MatMul(p, v) @out
# o1:f32[1,3,2,2] = Transpose(o) @o1 perm=[0,2,1,3]
# y:f32[1,3,4] = Reshape(o1, yd) @o2
# output y
# <<<
# >>> misses
# Softmax @softmax: attention: it is not over the last axis
# <<<
