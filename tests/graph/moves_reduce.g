# Mean pooling: the mask is expanded to the rows, but summed over the tokens only. One sum is over
# what Expand repeated: that stays
#? pass moves
graph moves_reduce opset=17
input x:f32[1,3,4]
input mask:f32[1,3,1]
const dims:i64[3] = {1, 3, 4}
const one:i64[1] = {1}
const two:i64[1] = {2}
e = Expand(mask, dims) @expand
p = Mul(x, e) @mul
s = ReduceSum(p, one) @sum keepdims=0
n = ReduceSum(e, one) @count keepdims=0
y = Div(s, n) @div
z = ReduceSum(e, two) @wide keepdims=0
output y
output z
# >>> expect
# graph moves_reduce opset=17 hash=0000000000000000
# input x:f32[1,3,4]
# input mask:f32[1,3,1]
# const dims:i64[3] = {1, 3, 4}
# const one:i64[1] = {1}
# const two:i64[1] = {2}
# e:f32[1,3,4] = Expand(mask, dims) @expand
# p:f32[1,3,4] = Mul(x, mask) @mul
# s:f32[1,4] = ReduceSum(p, one) @sum keepdims=0
# n.1:f32[1,1] = ReduceSum(mask, one) @count keepdims=0
# y:f32[1,4] = Div(s, n.1) @div
# z:f32[1,3] = ReduceSum(e, two) @wide keepdims=0
# output y
# output z
# <<<
