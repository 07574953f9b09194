# A padding mask as exporters write it: gathered by indices that count from 0, joined with a
# constant, expanded to the scores. What is left is one small Where; the Expand goes at the attention
#? pass moves
graph moves opset=17
input mask:i64[2,4]
input scores:f32[2,3,4,4]
const all:bool[1,1,4,1] = {1, 1, 1, 1}
const places:i64[2,1,1,4] = {0, 1, 2, 3, 4, 5, 6, 7}
const flat:i64[2] = {8, 1}
const back:i64[4] = {2, 1, 1, 4}
const big:i64[4] = {2, 1, 4, 4}
const zero:f32[] = {0}
const low:f32[] = {-1000}
a = Cast(mask) @cast to=9
b = Reshape(a, flat) @flat
c = Gather(b, places) @gather axis=0
d = Reshape(c, back) @back
e = And(all, d) @and
f = Expand(e, big) @expand
h = Where(f, zero, low) @where
y = Add(scores, h) @add
output y
# >>> expect
# graph moves opset=17 hash=0000000000000000
# input mask:i64[2,4]
# input scores:f32[2,3,4,4]
# const flat:i64[2] = {8, 1}
# const back:i64[4] = {2, 1, 1, 4}
# const zero:f32[] = {0}
# const low:f32[] = {-1000}
# const c.dims:i64[5] = {2, 1, 1, 4, 1}
# a:bool[2,4] = Cast(mask) @cast to=9
# b:bool[8,1] = Reshape(a, flat) @flat
# c:bool[2,1,1,4,1] = Reshape(b, c.dims) @gather
# d:bool[2,1,1,4] = Reshape(c, back) @back
# h.1:f32[2,1,1,4] = Where(d, zero, low) @where
# y:f32[2,3,4,4] = Add(scores, h.1) @add
# output y
# <<<
