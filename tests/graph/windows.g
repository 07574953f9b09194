# Pads become a part of what they are for; pools of one or of all pixels
#? pass windows
graph windows opset=17
input x:f32[1,2,3,3]
const w:f32[1,2,2,2] = {1,2,3,4,5,6,7,8}
const p:i64[8] = {0,0,1,0,0,0,0,2}
const p2:i64[8] = {0,1,1,0,0,0,0,2}
const axes:i64[2] = {-1,2}
const p3:i64[4] = {1,1,0,2}
const low:f32[] = {-inf}
a = Pad(x, p) @pad
b = Conv(a, w) @conv pads=[0,1,0,1]
c = AveragePool(a) @mean kernel_shape=[2,2]
d = Pad(x, p3, low, axes) @low
e = MaxPool(d) @most kernel_shape=[2,2]
f = Pad(x, p2) @channels
h = AveragePool(f) @stays kernel_shape=[2,2]
i = MaxPool(a) @zeros kernel_shape=[2,2]
j = AveragePool(x) @one kernel_shape=[1,1]
k = Relu(j) @relu
l = AveragePool(k) @all kernel_shape=[3,3]
m = ReduceMean(k) @reduce axes=[2,3] keepdims=0
n = ReduceMax(k) @max axes=[-2,-1]
output b
output c
output e
output h
output i
output l
output m
output n
# >>> expect
# graph windows opset=17 hash=0000000000000000
# input x:f32[1,2,3,3]
# const w:f32[1,2,2,2] = {1, 2, 3, 4, 5, 6, 7, 8}
# const p:i64[8] = {0, 0, 1, 0, 0, 0, 0, 2}
# const p2:i64[8] = {0, 1, 1, 0, 0, 0, 0, 2}
# const m.dims:i64[2] = {1, 2}
# a:f32[1,2,4,5] = Pad(x, p) @pad
# b:f32[1,1,3,6] = Conv(x, w) @conv pads=[1,1,0,3]
# c:f32[1,2,3,4] = AveragePool(x) @mean kernel_shape=[2,2] count_include_pad=1 pads=[1,0,0,2]
# e:f32[1,2,5,3] = MaxPool(x) @most kernel_shape=[2,2] pads=[1,1,2,0]
# f:f32[1,3,4,5] = Pad(x, p2) @channels
# h:f32[1,3,3,4] = AveragePool(f) @stays kernel_shape=[2,2]
# i:f32[1,2,3,4] = MaxPool(a) @zeros kernel_shape=[2,2]
# k:f32[1,2,3,3] = Relu(x) @relu
# l:f32[1,2,1,1] = GlobalAveragePool(k) @all
# m.1:f32[1,2,1,1] = GlobalAveragePool(k) @reduce
# n:f32[1,2,1,1] = GlobalMaxPool(k) @max
# m:f32[1,2] = Reshape(m.1, m.dims) @reduce.pixel
# output b
# output c
# output e
# output h
# output i
# output l
# output m
# output n
# <<<
