# A mask of constants: so small that it is computed now
#? pass infer
graph fold_mask opset=17
input x:f32[1,2]
const dims:i64[2] = {2, 2}
const limit:i64[2,1] = {0, 1}
const index:i64[1,2] = {0, 1}
const zero:f32[] = {0}
const low:f32[] = {-inf}
e = Expand(limit, dims) @expand
c = LessOrEqual(index, e) @le
m = Where(c, zero, low) @where
y = Add(x, m) @add
output y
# >>> expect
# graph fold_mask opset=17 hash=0000000000000000
# input x:f32[1,2]
# const m:f32[2,2] = {0, -inf, 0, 0}
# y:f32[2,2] = Add(x, m) @add
# output y
# <<<
