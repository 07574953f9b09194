# Channel shuffles: of joined parts with halves read, and of one tensor
#? pass shuffles
graph shuffle opset=17
input a:f32[1,4,2,2]
input b:f32[1,4,2,2]
const cut:i64[5] = {1,2,4,2,2}
const cut3:i64[5] = {1,4,2,2,2}
const join:i64[4] = {1,8,2,2}
const zero:i64[1] = {0}
const one:i64[1] = {1}
const four:i64[1] = {4}
const eight:i64[1] = {8}
c = Concat(a, b) @concat axis=1
d = Reshape(c, cut) @cut
e = Transpose(d) @turn perm=[0,2,1,3,4]
f = Reshape(e, join) @join
h = Slice(f, zero, four, one) @left
i = Slice(f, four, eight, one) @right
j = Relu(i) @relu
k = Concat(h, j) @again axis=1
l = Reshape(k, cut3) @cut3
m = Transpose(l) @turn3 perm=[0,2,1,3,4]
n = Reshape(m, join) @join3
output n
# >>> expect
# graph shuffle opset=17 hash=0000000000000000
# input a:f32[1,4,2,2]
# input b:f32[1,4,2,2]
# h:f32[1,4,2,2], i:f32[1,4,2,2] = ChannelShuffle(a, b) @join groups=2
# j:f32[1,4,2,2] = Relu(i) @relu
# k:f32[1,8,2,2] = Concat(h, j) @again axis=1
# n:f32[1,8,2,2] = ChannelShuffle(k) @join3 groups=4
# output n
# <<<
