# What looks like a copy but isn't: a sum that broadcasts, 0 - x, a slice that runs backwards; and a
# copy of an input that is an output
#? pass simplify
graph copies_kept opset=17
input x:f32[3]
const zeros:f32[2,3] = {0, 0, 0, 0, 0, 0}
const zero:f32[] = {0}
const start:i64[1] = {-1}
const end:i64[1] = {-9}
const axis:i64[1] = {0}
const step:i64[1] = {-1}
a = Add(x, zeros) @broadcast
b = Sub(zero, x) @negate
c = Slice(x, start, end, axis, step) @reverse
d = Identity(x) @copy
output a
output b
output c
output d
# >>> expect
# graph copies_kept opset=17 hash=0000000000000000
# input x:f32[3]
# const zero:f32[] = {0}
# const start:i64[1] = {-1}
# const end:i64[1] = {-9}
# const axis:i64[1] = {0}
# const step:i64[1] = {-1}
# const a.dims:i64[2] = {2, 3}
# a:f32[2,3] = Expand(x, a.dims) @broadcast
# b:f32[3] = Sub(zero, x) @negate
# c:f32[3] = Slice(x, start, end, axis, step) @reverse
# d:f32[3] = Identity(x) @copy
# output a
# output b
# output c
# output d
# <<<
