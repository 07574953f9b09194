# A transpose that moves only an axis of length 1 is a view
#? pass views
graph transpose_view opset=17
input x:f32[2,1,3]
a = Transpose(x) @swap perm=[1,0,2]
y = Relu(a) @relu
output y
# >>> expect
# graph transpose_view opset=17 hash=0000000000000000
# input x:f32[2,1,3]
# const a.dims:i64[3] = {1, 2, 3}
# a:f32[1,2,3] = Reshape(x, a.dims) @swap
# y:f32[1,2,3] = Relu(a) @relu
# output y
# <<<
