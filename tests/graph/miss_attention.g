# Nearly attentions: a cast's place taken by another node, keys as they are, a mask of too many axes
#? pass attention
graph miss_attention opset=17
input q:f32[1,2,3,4]
input k:f32[1,2,4,3]
input v:f32[1,2,3,4]
input m:f32[2,1,2,3,3]
const yd:i64[3] = {1, 3, 8}
const big:i64[3] = {2, 3, 8}
s = MatMul(q, k) @scores
p = Softmax(s) @plain axis=-1
o = MatMul(p, v) @weighted
o1 = Transpose(o) @back perm=[0,2,1,3]
y = Reshape(o1, yd) @merged
p2 = Softmax(s) @dropped axis=-1
d = Relu(p2) @between
o2 = MatMul(d, v) @weighted2
o3 = Transpose(o2) @back2 perm=[0,2,1,3]
y2 = Reshape(o3, yd) @merged2
r = Exp(s) @exp
p3 = Softmax(r) @other axis=-1
o4 = MatMul(p3, v) @weighted3
o5 = Transpose(o4) @back3 perm=[0,2,1,3]
y3 = Reshape(o5, yd) @merged3
p4 = Softmax(s) @kept axis=-1
y4 = MatMul(p4, v) @weighted4
output y
output y2
output y3
output y4
# >>> expect
# graph miss_attention opset=17 hash=0000000000000000
# input q:f32[1,2,3,4]
# input k:f32[1,2,4,3]
# input v:f32[1,2,3,4]
# input m:f32[2,1,2,3,3]
# const yd:i64[3] = {1, 3, 8}
# s:f32[1,2,3,3] = MatMul(q, k) @scores
# p:f32[1,2,3,3] = Softmax(s) @plain axis=-1
# o:f32[1,2,3,4] = MatMul(p, v) @weighted
# o1:f32[1,3,2,4] = Transpose(o) @back perm=[0,2,1,3]
# y:f32[1,3,8] = Reshape(o1, yd) @merged
# p2:f32[1,2,3,3] = Softmax(s) @dropped axis=-1
# d:f32[1,2,3,3] = Relu(p2) @between
# o2:f32[1,2,3,4] = MatMul(d, v) @weighted2
# o3:f32[1,3,2,4] = Transpose(o2) @back2 perm=[0,2,1,3]
# y2:f32[1,3,8] = Reshape(o3, yd) @merged2
# r:f32[1,2,3,3] = Exp(s) @exp
# p3:f32[1,2,3,3] = Softmax(r) @other axis=-1
# o4:f32[1,2,3,4] = MatMul(p3, v) @weighted3
# o5:f32[1,3,2,4] = Transpose(o4) @back3 perm=[0,2,1,3]
# y3:f32[1,3,8] = Reshape(o5, yd) @merged3
# p4:f32[1,2,3,3] = Softmax(s) @kept axis=-1
# y4:f32[1,2,3,4] = MatMul(p4, v) @weighted4
# output y
# output y2
# output y3
# output y4
# <<<
# >>> misses
# Softmax @plain: attention: its keys 'k' are not transposed in a way that we know
# Softmax @dropped: attention: Relu 'between' stands between it and the product with the values
# Softmax @other: attention: its scores come from Exp 'exp', not from a product
# Softmax @kept: attention: no Transpose and Reshape alone read the weighted values 'y4'
# <<<
