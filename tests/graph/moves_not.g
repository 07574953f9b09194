# Indices in another order, a slice that is shorter, a row twice: all stay
#? pass moves
graph moves_not opset=17
input x:f32[1,4]
const back:i64[4] = {1, 0, 2, 3}
const one:i64[1] = {1}
const from:i64[1] = {1}
const to:i64[1] = {9}
const axis:i64[1] = {1}
const rows:i64[2,1] = {0, 0}
a = Gather(x, back) @gather axis=1
b = Slice(x, from, to, axis, one) @slice
c = Gather(x, rows) @twice axis=0
output a
output b
output c
# >>> expect
# graph moves_not opset=17 hash=0000000000000000
# input x:f32[1,4]
# const back:i64[4] = {1, 0, 2, 3}
# const one:i64[1] = {1}
# const from:i64[1] = {1}
# const to:i64[1] = {9}
# const axis:i64[1] = {1}
# const rows:i64[2,1] = {0, 0}
# a:f32[1,4] = Gather(x, back) @gather axis=1
# b:f32[1,3] = Slice(x, from, to, axis, one) @slice
# c:f32[2,1,4] = Gather(x, rows) @twice axis=0
# output a
# output b
# output c
# <<<
